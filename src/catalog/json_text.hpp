// JSON that comes with a file: headers and parameters.
#pragma once

#include <attenta/core/config.hpp>

#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <string_view>

ATTENTA_BEGIN

/// Reads `text`, which messages call `subject`. `refuse` gets the reason and throws, for what is no JSON, for nesting
/// that nothing sound needs, and for a name that stands twice in one object.
nlohmann::json parse_json(const std::string& text, const std::string& subject,
                          const std::function<void(const std::string& reason)>& refuse);

/// Infinity, -Infinity and NaN, which Python's json writes although JSON has no such numbers, as
/// {"__float__": "Infinity"} and so on.
std::string encode_special_floats(std::string_view text);

/// The parameters of a mechanism: an object. Throws Error in the name of `function`.
nlohmann::json parse_parameters(const std::string& text, const std::string& function);

/// On one line, in ASCII, cut for messages.
std::string shown_json(const nlohmann::json& json);

ATTENTA_END
