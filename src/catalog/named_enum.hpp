// Types of parameters beside numbers: enums that have names in JSON, operations, groups.
#pragma once

#include <attenta/core/config.hpp>

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

ATTENTA_BEGIN

/// An enum with an array `names_of(E)` beside it: the names of its values 0, 1, ..., found by argument-dependent lookup.
template <class E>
concept NamedEnum = std::is_enum_v<E> && requires(E value) {
    names_of(value)[0];
};

/// A parameter that is a list ["name", 1, 2]: what is done, and to what.
struct Operation {
    std::string name;
    std::vector<std::int64_t> numbers;
};

/// A struct of parameters that is itself one: an object in JSON.
template <class T>
concept ParameterGroup = std::is_class_v<T> && requires(T x) {
    T::fields([](auto&&...) {}, x);
};

ATTENTA_END
