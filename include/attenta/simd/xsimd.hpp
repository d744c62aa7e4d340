// xsimd, without its warnings and whatever the including file's -ffast-math.
#pragma once

#include <attenta/core/config.hpp>

// What xsimd includes of the standard library keeps the file's own flags.
#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <ostream>
#include <string_view>
#include <tuple>

#if defined(ATTENTA_FAST_MATH) && (defined(XSIMD_HPP) || defined(__IMMINTRIN_H))
#error "with -ffast-math, include attenta before xsimd and, with Clang, before <immintrin.h>"
#endif

// g++ 12 warns of variables inside its own intrinsics (GCC bug 105593). They are always inlined and follow the caller.
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

ATTENTA_STRICT_BEGIN
#include <xsimd/xsimd.hpp>
ATTENTA_STRICT_END
