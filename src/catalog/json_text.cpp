#include "json_text.hpp"

#include <attenta/core/error.hpp>

#include <algorithm>
#include <set>
#include <vector>

#include "messages.hpp"

ATTENTA_BEGIN

using Json = nlohmann::json;

Json parse_json(const std::string& text, const std::string& subject,
                const std::function<void(const std::string& reason)>& refuse) {
    // Headers and parameters need three levels. Whatever prints them recurses as deep as they are nested.
    constexpr int max_depth = 8;
    std::vector<std::set<std::string>> names;  // of the objects that are open
    std::string last;
    const auto inspect = [&](int depth, Json::parse_event_t event, Json& value) {
        if (depth > max_depth) refuse(subject + " is nested too deeply");
        if (event == Json::parse_event_t::object_start) {
            names.emplace_back();
        } else if (event == Json::parse_event_t::object_end) {
            names.pop_back();
        } else if (event == Json::parse_event_t::key) {
            last = value.get<std::string>();
            if (!names.back().insert(last).second) refuse(subject + " names " + in_quotes(last) + " twice");
        }
        return true;
    };
    try {
        return Json::parse(text, inspect);
    } catch (const Json::exception&) {
        refuse(subject + " is not valid JSON" + (last.empty() ? "" : ", after the name " + in_quotes(last)));
    }
    return {};
}

std::string encode_special_floats(std::string_view text) {
    std::string encoded;
    bool in_string = false;
    while (!text.empty()) {
        std::string_view special;
        for (const std::string_view word : {"-Infinity", "Infinity", "NaN"})
            if (!in_string && text.starts_with(word)) special = word;
        // A backslash and what it escapes are passed over together.
        const std::size_t length = !special.empty() ? special.size() : in_string && text[0] == '\\' ? 2 : 1;
        if (text[0] == '"') in_string = !in_string;
        if (special.empty())
            encoded.append(text.substr(0, length));
        else
            encoded.append(R"({"__float__": ")").append(special).append("\"}");
        text.remove_prefix(std::min(length, text.size()));
    }
    return encoded;
}

Json parse_parameters(const std::string& text, const std::string& function) {
    const auto refuse = [&](const std::string& reason) { fail(function.c_str(), reason + ": " + shown(text)); };
    Json parameters = parse_json(encode_special_floats(text), "the parameter list", refuse);
    if (!parameters.is_object()) refuse("the parameter list is not a JSON object");
    return parameters;
}

std::string shown_json(const Json& json) { return shown(json.dump(-1, ' ', true, Json::error_handler_t::replace)); }

ATTENTA_END
