#pragma once

// Headers mode: one backend, that of the including file.
#include <attenta/core/error.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/engine/make_backend.hpp>

#include <string>

ATTENTA_BEGIN

inline const Backend& active_backend() {
    static constexpr Backend backend = make_backend<simd::NativeArch>(simd::native_isa);
    return backend;
}
inline bool is_compiled(Isa isa) { return isa == simd::native_isa; }
inline bool is_available(Isa isa) { return isa == simd::native_isa; }
inline Isa active_isa() { return simd::native_isa; }
inline const Backend& backend_of(Isa isa) {
    if (!is_available(isa))
        fail("set_isa", std::string(name(isa)) + " is not available here: headers mode has " + name(simd::native_isa));
    return active_backend();
}
inline void set_isa(Isa isa) { static_cast<void>(backend_of(isa)); }
inline std::string_view processor_name() { return {}; }

ATTENTA_END

#include <attenta/engine/isa_named.inl>
