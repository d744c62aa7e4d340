#include "llama_json.hpp"

#include <fstream>
#include <iterator>
#include <set>
#include <string_view>
#include <vector>

namespace llama {
namespace {

constexpr int max_depth = 32;  // a model's files need five levels

/// Python's word for a number that JSON cannot say, if one stands there.
std::string_view word_at(std::string_view text, std::size_t i) {
    for (const std::string_view word : {"NaN", "Infinity", "-Infinity"})
        if (text.substr(i, word.size()) == word) return word;
    return {};
}

/// Puts such words in quotes where they stand outside strings.
std::string with_quoted_words(const std::string& text) {
    std::string quoted;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '"') in_string = !in_string;
        if (in_string && text[i] == '\\') quoted += text[i++];  // what follows does not end the string
        const std::string_view word = in_string ? "" : word_at(text, i);
        if (word.empty()) {
            quoted += text[i];
        } else {
            quoted += '"' + std::string(word) + '"';
            i += word.size() - 1;
        }
    }
    return quoted;
}

}  // namespace

Fields Fields::load(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) refuse("cannot read " + path.string());
    const std::string text(std::istreambuf_iterator<char>(in), {});

    std::vector<std::set<std::string>> seen;  // names of the objects around the place that is read
    const auto inspect = [&](int depth, Json::parse_event_t event, Json& value) {
        if (depth > max_depth) refuse(path.string() + " is nested too deeply");
        if (event == Json::parse_event_t::object_start) seen.emplace_back();
        if (event == Json::parse_event_t::object_end) seen.pop_back();
        if (event == Json::parse_event_t::key && !seen.back().insert(value.get<std::string>()).second)
            refuse(path.string() + " names " + value.dump() + " twice");
        return true;
    };
    Json json = Json::parse(with_quoted_words(text), inspect, /*allow_exceptions=*/false);
    if (!json.is_object()) refuse(path.string() + " is not a JSON object");
    return {path.filename().string() + ": ", std::move(json)};
}

std::int64_t Fields::size(const char* name, std::optional<std::int64_t> fallback, std::int64_t least,
                          std::int64_t most) const {
    if (!has(name) && !fallback) missing(name);
    if (!has(name)) return *fallback;
    const Json& x = json_[name];
    if (!x.is_number_integer() || x < least) ill(name, least > 0 ? "a positive integer" : "an integer, 0 or more");
    if (x > most) ill(name, "at most " + std::to_string(most));
    return x;
}

double Fields::positive(const char* name, std::optional<double> fallback) const {
    if (!has(name) && !fallback) missing(name);
    if (!has(name)) return *fallback;
    const Json& x = json_[name];
    if (!x.is_number() || !(x > 0)) ill(name, "a positive number");
    return x;
}

std::optional<bool> Fields::flag(const char* name) const {
    if (!has(name)) return {};
    if (!json_[name].is_boolean()) ill(name, "true or false");
    return json_[name].get<bool>();
}

std::string Fields::text(const char* name, const std::string& fallback) const {
    if (!has(name)) return fallback;
    if (!json_[name].is_string()) ill(name, "a string");
    return json_[name];
}

Fields Fields::object(const char* name) const {
    if (has(name) && !json_[name].is_object()) ill(name, "an object");
    return {place_ + name + ".", has(name) ? json_[name] : Json::object()};
}

void Fields::ill(const char* name, const std::string& needed) const {
    refuse(place_ + name + " is " + json_[name].dump() + ", needs " + needed);
}

}  // namespace llama
