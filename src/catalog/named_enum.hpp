// Enums that have names in JSON.
#pragma once

#include <attenta/core/config.hpp>

#include <type_traits>

ATTENTA_BEGIN

/// An enum with an array `names_of(E)` beside it: the names of its values 0, 1, ..., found by argument-dependent lookup.
template <class E>
concept NamedEnum = std::is_enum_v<E> && requires(E value) {
    names_of(value)[0];
};

ATTENTA_END
