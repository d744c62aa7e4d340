#pragma once

#include <attenta/core/isa.hpp>

ATTENTA_BEGIN

ATTENTA_INLINE std::optional<Isa> isa_named(std::string_view text) {
    for (int i = 0; i < isa_count; ++i)
        if (text == name(static_cast<Isa>(i))) return static_cast<Isa>(i);
    return {};
}

ATTENTA_END
