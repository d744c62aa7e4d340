#pragma once

// Headers mode: one instruction set, that of the including file.
#include <attenta/core/error.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/simd/arch.hpp>

#include <string>

ATTENTA_BEGIN

inline bool is_compiled(Isa isa) { return isa == simd::native_isa; }
inline bool is_available(Isa isa) { return isa == simd::native_isa; }
inline Isa active_isa() { return simd::native_isa; }
inline void set_isa(Isa isa) {
    if (!is_available(isa))
        fail("set_isa", std::string(name(isa)) + " is not available here: headers mode has " + name(simd::native_isa));
}
inline std::string_view processor_name() { return {}; }

ATTENTA_END
