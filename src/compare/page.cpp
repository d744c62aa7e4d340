#include "html.hpp"
#include "page_parts.hpp"
#include "report.hpp"

namespace compare {

std::string page(const Comparison& comparison) {
    const std::string data = cli::script_json(to_json(comparison));
    return cli::filled(page_html, {{"style", page_css}, {"script", page_js}, {"data", data}});
}

}  // namespace compare
