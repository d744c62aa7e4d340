// What the files of the families share: the list of them, and the description of a mechanism's parameters.
#pragma once

#include <attenta/catalog.hpp>

#include <array>
#include <charconv>
#include <concepts>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "named_enum.hpp"

ATTENTA_BEGIN

std::span<const Mechanism> softmax_rows();
std::span<const Mechanism> linear_rows();
std::span<const Mechanism> sparse_rows();
std::span<const Mechanism> lowrank_rows();
std::span<const Mechanism> kv_rows();
std::span<const Mechanism> latent_rows();
std::span<const Mechanism> variant_rows();
std::span<const Mechanism> gating_rows();
std::span<const Mechanism> analysis_rows();

namespace detail {

constexpr std::string_view type_text(const bool&) { return "bool"; }
constexpr std::string_view type_text(const std::integral auto&) { return "int"; }
constexpr std::string_view type_text(const std::floating_point auto&) { return "float"; }
constexpr std::string_view type_text(const NamedEnum auto&) { return "string"; }
constexpr std::string_view type_text(const std::optional<bool>&) { return "bool or null"; }
constexpr std::string_view type_text(const std::optional<float>&) { return "float or null"; }
constexpr std::string_view type_text(const std::optional<double>&) { return "float or null"; }
constexpr std::string_view type_text(const std::optional<std::int64_t>&) { return "int or null"; }
constexpr std::string_view type_text(const std::vector<std::int64_t>&) { return "int or list"; }
constexpr std::string_view type_text(const std::optional<std::array<std::int64_t, 2>>&) { return "2 ints or null"; }
constexpr std::string_view type_text(const std::optional<std::vector<std::int64_t>>&) { return "list of ints or null"; }
template <NamedEnum E>
constexpr std::string_view type_text(const std::optional<E>&) {
    return "string or null";
}
constexpr std::string_view type_text(const std::optional<std::array<float, 2>>&) { return "2 floats or null"; }
constexpr std::string_view type_text(const std::array<float, 3>&) { return "3 floats"; }
constexpr std::string_view type_text(const std::array<float, 4>&) { return "4 floats"; }
constexpr std::string_view type_text(const std::array<std::int64_t, 2>&) { return "2 ints"; }
constexpr std::string_view type_text(const std::vector<double>&) { return "list of floats"; }
constexpr std::string_view type_text(const ParameterGroup auto&) { return "object"; }
constexpr std::string_view type_text(const std::vector<std::array<std::int64_t, 2>>&) { return "list of 2 ints"; }
template <NamedEnum E>
constexpr std::string_view type_text(const std::vector<std::array<E, 2>>&) {
    return "list of 2 strings";
}
constexpr std::string_view type_text(const std::vector<std::string>&) { return "list of strings"; }
constexpr std::string_view type_text(const std::vector<Operation>&) { return "lists of a string and ints"; }

inline std::string default_text(const bool& value) { return value ? "true" : "false"; }
template <class T>
std::string default_text(const T& value) {
    char text[32];
    return {text, std::to_chars(text, text + sizeof text, value).ptr};
}
template <NamedEnum E>
std::string default_text(const E& value) {
    constexpr auto names = names_of(E());
    return std::string("\"").append(names[static_cast<std::size_t>(value)]).append("\"");
}
template <class T, std::size_t N>
std::string default_text(const std::array<T, N>& value) {
    std::string text;
    for (const T x : value) text.append(text.empty() ? "[" : ", ").append(default_text(x));
    return text.append("]");
}
inline std::string default_text(const std::vector<Operation>&) { return "[]"; }
inline std::string default_text(const std::vector<std::string>& value) {
    std::string text;
    for (const std::string& x : value) text.append(text.empty() ? "[\"" : ", \"").append(x).append("\"");
    return text.append("]");
}
std::string default_text(const ParameterGroup auto&) { return "{}"; }
template <class T>
std::string default_text(const std::vector<std::array<T, 2>>& value) {
    std::string text;
    for (const auto& pair : value) text.append(text.empty() ? "[" : ", ").append(default_text(pair));
    return value.empty() ? "[]" : text.append("]");
}
inline std::string default_text(const std::vector<double>& value) {
    std::string text;
    for (const double x : value) text.append(text.empty() ? "[" : ", ").append(default_text(x));
    return value.empty() ? "[]" : text.append("]");
}
/// A list of one element as that element.
inline std::string default_text(const std::vector<std::int64_t>& value) {
    if (value.size() == 1) return default_text(value.front());
    std::string text;
    for (const std::int64_t x : value) text.append(text.empty() ? "[" : ", ").append(default_text(x));
    return value.empty() ? "[]" : text.append("]");
}
template <class T>
std::string default_text(const std::optional<T>& value) {
    return value ? default_text(*value) : "null";
}

}  // namespace detail

/// The parameters that an options struct lists, with their defaults.
template <class Options>
std::vector<Parameter> parameters_of() {
    std::vector<Parameter> list;
    const Options defaults;
    Options::fields(
        [&](std::string_view name, const auto& value, std::string_view help) {
            list.push_back({name, detail::type_text(value), detail::default_text(value), help});
        },
        defaults);
    return list;
}

inline std::vector<Parameter> no_parameters() { return {}; }

ATTENTA_END
