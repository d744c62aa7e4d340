#include "view.hpp"

#include <fstream>
#include <iostream>
#include <iterator>
#include <new>

#include "commands.hpp"
#include "page_file.hpp"

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

std::string text_of(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    std::error_code ignored;
    if (fs::is_directory(path, ignored) || !stream) throw attenta::Error(path.string() + ": cannot be read");
    std::string text;
    for (std::istreambuf_iterator<char> c(stream), end; c != end; ++c) {
        // More than any model takes, as of a device that never ends.
        if (text.size() >> 30 != 0) throw attenta::Error(path.string() + ": is longer than 1 GiB");
        text += *c;
    }
    return text;
}

view::Prompt prompt_of(const ViewOptions& o) {
    if (!o.prompt_ids.empty()) return {.ids = o.prompt_ids};
    if (!o.prompt_file.empty()) return {.text = text_of(o.prompt_file)};
    return {.text = o.prompt.value_or(default_prompt)};
}

view::Picture picture_of(const ViewOptions& o) {
    std::error_code ignored;
    if (!o.source.empty() && !fs::is_directory(o.source, ignored)) {
        if (o.prompt || !o.prompt_file.empty() || !o.prompt_ids.empty())
            throw attenta::Error("--prompt, --file and --prompt-ids are for models, " + o.source.string() +
                                 " is a file");
        return view::of_case(o.source, parameters_of(o.parameters), o.settings);
    }
    if (!o.parameters.empty()) throw attenta::Error("--set is for cases, the source is a model");
    if (!o.source.empty()) return view::of_model(o.source, prompt_of(o), o.settings);
    view::Picture picture = view::of_model(ATTENTA_MODEL, prompt_of(o), o.settings);
    picture.title = "The bundled model";
    return picture;
}

}  // namespace

int view(const ViewOptions& options) {
    std::error_code ignored;
    const fs::path model = options.source.empty() ? fs::path(ATTENTA_MODEL) : options.source;
    for (const fs::path& input :
         {options.source, options.prompt_file, model / "config.json", model / "model.safetensors"})
        if (fs::equivalent(input, options.out, ignored))
            throw attenta::Error("--out would overwrite " + input.string());
    try {
        PageFile file(options.out);
        const view::Picture picture = picture_of(options);
        const std::string page = view::page_of(picture);
        file.write(page);
        const view::Grid& grid = picture.grid;
        std::cout << options.out.string() << ": " << picture.layers.size() << " × " << picture.heads_per_layer
                  << " heads, " << grid.queries << " × " << grid.keys << " weights in " << grid.rows() << " × "
                  << grid.cols() << " tiles, " << (page.size() >> 10) + 1 << " KiB\n";
    } catch (const std::bad_alloc&) {
        throw attenta::Error("view: not enough memory");
    }
    return 0;
}

}  // namespace cli
