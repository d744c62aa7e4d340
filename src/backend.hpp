// One backend: compiled with the flags of its instruction set, exports this table and nothing else.
#pragma once

#include <attenta/engine/make_backend.hpp>

#define ATTENTA_EXPORT_BACKEND(isa)                                          \
    extern "C" const attenta::Backend attenta_backend_##isa;                 \
    extern "C" constexpr attenta::Backend attenta_backend_##isa =            \
        attenta::make_backend<attenta::simd::NativeArch>(attenta::Isa::isa); \
    static_assert(attenta::simd::native_isa == attenta::Isa::isa)
