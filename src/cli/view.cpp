#include "view.hpp"

#include <iostream>
#include <new>

#include "commands.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;

/// A question whose answer stands in the text, for the bundled model.
constexpr const char* default_prompt =
    "# the log was read by each worker before it moved on\n"
    "let kavo=4821\n"
    "let rimuta=9035\n"
    "# queue state is open and then closed\n"
    "let begi=1760\n"
    "get rimuta=9035\n"
    "get kavo=";

std::map<std::string, std::string> parameters_of(const std::vector<std::string>& set) {
    std::map<std::string, std::string> parameters;
    for (const std::string& parameter : set) {
        const std::size_t end = parameter.find('=');
        if (end == 0 || end == std::string::npos)
            throw attenta::Error("--set is '" + parameter + "', needs NAME=VALUE");
        if (!parameters.emplace(parameter.substr(0, end), parameter.substr(end + 1)).second)
            throw attenta::Error("--set names '" + parameter.substr(0, end) + "' twice");
    }
    return parameters;
}

view::Picture picture_of(const ViewOptions& o) {
    const bool prompted = o.prompt || !o.prompt_ids.empty();
    if (!o.source.empty() && !fs::is_directory(o.source)) {
        if (prompted) throw attenta::Error("--prompt and --prompt-ids are for models, " + o.source.string() + " is a file");
        return view::of_case(o.source, parameters_of(o.parameters), o.settings);
    }
    if (!o.parameters.empty()) throw attenta::Error("--set is for cases, the source is a model");
    const view::Prompt prompt{prompted ? o.prompt.value_or("") : default_prompt, o.prompt_ids};
    return view::of_model(o.source.empty() ? fs::path(ATTENTA_MODEL) : o.source, prompt, o.settings);
}

}  // namespace

int view(const ViewOptions& options) {
    std::error_code ignored;
    if (fs::equivalent(options.source, options.out, ignored)) throw attenta::Error("--out would overwrite FILE");
    try {
        view::PageFile file(options.out);
        const view::Picture picture = picture_of(options);
        const std::string page = view::page_of(picture);
        file.write(page);
        const view::Grid& grid = picture.grid;
        std::cout << options.out.string() << ": " << picture.layers.size() << " layers of " << picture.heads_per_layer
                  << " heads, " << grid.queries << " queries and " << grid.keys << " keys in " << grid.rows() << " × "
                  << grid.cols() << " tiles, " << (page.size() >> 10) + 1 << " KiB\n";
    } catch (const std::bad_alloc&) {
        throw attenta::Error("view: not enough memory");
    }
    return 0;
}

}  // namespace cli
