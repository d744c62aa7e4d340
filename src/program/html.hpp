// Data inside a page of HTML.
#pragma once

#include <nlohmann/json.hpp>

#include <map>
#include <string>
#include <string_view>

namespace cli {

/// `text` as it reads on a page, within an element or a quoted attribute.
inline std::string escaped_html(std::string_view text) {
    std::string html;
    html.reserve(text.size());
    for (const char c : text) {
        switch (c) {
            case '&':
                html += "&amp;";
                break;
            case '<':
                html += "&lt;";
                break;
            case '>':
                html += "&gt;";
                break;
            case '"':
                html += "&quot;";
                break;
            case '\'':
                html += "&#39;";
                break;
            default:
                html += c;
        }
    }
    return html;
}

/// `data` as the content of <script type="application/json">: a script ends at the first "</script", whatever quotes
/// are around it, and "<!--" changes how it is read, so that every "<" is written as JSON's own escape. Bytes that are
/// no UTF-8 become U+FFFD.
inline std::string script_json(const nlohmann::ordered_json& data) {
    std::string script;
    for (const char c : data.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)) {
        if (c == '<')
            script += "\\u003c";
        else
            script += c;
    }
    return script;
}

/// The template with what stands for its {{name}}s. What is put in is not looked at again.
inline std::string filled(std::string_view text, const std::map<std::string_view, std::string_view>& values) {
    std::string page;
    while (true) {
        const std::size_t begin = text.find("{{"), end = text.find("}}", begin);
        page += text.substr(0, begin);
        if (begin == std::string_view::npos) return page;
        page += values.at(text.substr(begin + 2, end - begin - 2));
        text.remove_prefix(end + 2);
    }
}

}  // namespace cli
