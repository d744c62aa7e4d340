// The JSON files of a model, read with a reason for every field that cannot be used. Private to the example.
#pragma once

#include <attenta/core/error.hpp>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace llama {

using Json = nlohmann::json;

[[noreturn]] inline void refuse(const std::string& reason) { attenta::fail("llama", reason); }

/// The fields of a JSON object; null counts as absent. `place` is said before a field's name: "config.json: ".
class Fields {
public:
    Fields(std::string place, Json json) : place_(std::move(place)), json_(std::move(json)) {}

    /// A file with one object. A name that stands twice in an object is refused. NaN, Infinity and -Infinity, which
    /// Python writes and JSON does not know, are read as strings, so that only who needs the number refuses it.
    static Fields load(const std::filesystem::path& path);

    bool names(const char* name) const { return json_.contains(name); }  ///< null counts here
    bool has(const char* name) const { return names(name) && !json_[name].is_null(); }
    const Json& at(const char* name) const { return json_.at(name); }
    const Json& json() const { return json_; }

    static constexpr std::int64_t largest = std::int64_t{1} << 30;
    std::int64_t size(const char* name, std::optional<std::int64_t> fallback = {}, std::int64_t least = 1,
                      std::int64_t most = largest) const;
    double positive(const char* name, std::optional<double> fallback = {}) const;
    std::optional<bool> flag(const char* name) const;
    std::string text(const char* name, const std::string& fallback) const;
    Fields object(const char* name) const;  ///< empty where the field is absent

    [[noreturn]] void ill(const char* name, const std::string& needed) const;
    [[noreturn]] void missing(const char* name) const { refuse(place_ + name + " is missing"); }

private:
    std::string place_;
    Json json_;
};

}  // namespace llama
