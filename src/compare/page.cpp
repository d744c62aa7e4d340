#include "page_parts.hpp"
#include "report.hpp"
#include "src/cli/html.hpp"

namespace compare {

namespace {

/// What stands for {{name}} in the page.
std::string_view part(std::string_view name, const std::string& data) {
    if (name == "style") return page_parts::style;
    if (name == "script") return page_parts::script;
    return data;
}

}  // namespace

std::string page(const Comparison& comparison) {
    const std::string data = cli::script_json(to_json(comparison));
    std::string page;
    std::string_view rest = page_parts::html;
    for (std::size_t open; (open = rest.find("{{")) != std::string_view::npos;) {
        const std::size_t close = rest.find("}}", open);
        page += rest.substr(0, open);
        page += part(rest.substr(open + 2, close - open - 2), data);
        rest.remove_prefix(close + 2);
    }
    return page.append(rest);
}

}  // namespace compare
