#include <attenta/catalog.hpp>

#include <algorithm>

#include "declared.hpp"
#include "json_text.hpp"
#include "messages.hpp"

ATTENTA_BEGIN

namespace {

using Json = nlohmann::json;

std::string value_of(const TensorFile& file, const char* key, const char* otherwise) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? otherwise : found->second;
}

/// JSON, or else a string.
Json value(const std::string& name, const std::string& text) {
    const std::string json = encode_special_floats(text);
    if (!Json::accept(json)) return text;
    return parse_json(json, "parameter " + in_quotes(name),
                      [](const std::string& reason) { fail("make_case", reason); });
}

std::string with_parameters(const std::string& given, const std::map<std::string, std::string>& parameters) {
    Json all = parse_parameters(given, "make_case");
    for (const auto& [name, text] : parameters) all[name] = value(name, text);
    return all.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool declares(std::string_view list, std::string_view name) {
    const auto tensors = declared(list);
    return std::any_of(tensors.begin(), tensors.end(), [&](const Declared& t) { return t.name == name; });
}

Tensors named_as_case(Tensors tensors, const Mechanism& mechanism) {
    const auto of_case = [](const auto& t) { return t.first.starts_with("in.") || t.first.starts_with("out."); };
    if (std::any_of(tensors.begin(), tensors.end(), of_case)) return tensors;
    Tensors named;
    for (auto& [name, tensor] : tensors) {
        const bool output = !declares(mechanism.inputs, name) && declares(mechanism.outputs, name);
        named[(output ? "out." : "in.") + name] = std::move(tensor);
    }
    return named;
}

}  // namespace

TensorFile make_case(TensorFile file, const CaseSettings& settings) {
    auto& metadata = file.metadata;
    if (settings.mechanism) {
        metadata["family"] = settings.mechanism->family;
        metadata["mechanism"] = settings.mechanism->name;
    }
    if (!settings.parameters.empty())
        metadata["params"] = with_parameters(value_of(file, "params", "{}"), settings.parameters);
    if (!settings.atol.empty()) metadata["atol"] = settings.atol;
    if (!settings.rtol.empty()) metadata["rtol"] = settings.rtol;
    if (const auto* mechanism = find_mechanism(value_of(file, "family", ""), value_of(file, "mechanism", "")))
        file.tensors = named_as_case(std::move(file.tensors), *mechanism);
    return file;
}

ATTENTA_END
