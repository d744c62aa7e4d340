// Names of the build: version, ABI namespace, linkage of functions that are compiled once.
#pragma once

#if __cplusplus < 202002L
#error "attenta needs C++20: compile with -std=c++20"
#endif

#define ATTENTA_VERSION_MAJOR 0
#define ATTENTA_VERSION_MINOR 1
#define ATTENTA_VERSION_PATCH 0
#define ATTENTA_VERSION "0.1.0"

// What the including file is compiled for: the kernels ask for these names, never for the compiler's.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define ATTENTA_AVX512
#elif defined(__AVX2__) && defined(__FMA__)
#define ATTENTA_AVX2
#elif defined(__aarch64__)
#define ATTENTA_NEON64
#else
#define ATTENTA_SSE2
#endif

#if defined(ATTENTA_HEADERS) && defined(ATTENTA_SSE2) && defined(__x86_64__) && !defined(ATTENTA_ALLOW_SSE2)
#pragma message( \
    "attenta: headers mode for SSE2, several times slower than AVX2; mend by -march, hide by ATTENTA_ALLOW_SSE2")
#endif

// Two ways to use attenta, which may meet in one program:
//   attenta::attenta   compiled functions, the backend is picked at run time;
//   attenta::headers   (ATTENTA_HEADERS) everything inline, for the instruction set of the including file.
// Each has its own inline namespace, and in headers mode one per instruction set, so that the linker never merges
// functions that were compiled for different processors. Files that differ in more than these levels (-march=znver5
// beside -march=x86-64-v4) define ATTENTA_ABI themselves, each its own word.
#if !defined(ATTENTA_HEADERS)
#define ATTENTA_INLINE
#define ATTENTA_ABI compiled
#else
#define ATTENTA_INLINE inline
#if defined(ATTENTA_ABI)
#elif defined(ATTENTA_AVX512)
#define ATTENTA_ABI headers_avx512
#elif defined(ATTENTA_AVX2) && defined(__F16C__)
#define ATTENTA_ABI headers_avx2_f16c
#elif defined(ATTENTA_AVX2)
#define ATTENTA_ABI headers_avx2
#elif defined(ATTENTA_NEON64)
#define ATTENTA_ABI headers_neon64
#elif defined(__AVX__)
#define ATTENTA_ABI headers_sse2_avx
#elif defined(__SSE3__)
#define ATTENTA_ABI headers_sse2_sse4
#else
#define ATTENTA_ABI headers_sse2
#endif
#endif

// Infinities, NaN and the order of operations mean what they say, whatever the including file's -ffast-math.
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || __FINITE_MATH_ONLY__
#define ATTENTA_FAST_MATH
#endif
#if !defined(ATTENTA_FAST_MATH)
#define ATTENTA_STRICT_BEGIN
#define ATTENTA_STRICT_END
#elif defined(__clang__)
#define ATTENTA_STRICT_BEGIN _Pragma("float_control(precise, on, push)")
#define ATTENTA_STRICT_END _Pragma("float_control(pop)")
#else
#define ATTENTA_STRICT_BEGIN _Pragma("GCC push_options") _Pragma("GCC optimize(\"no-fast-math\")")
#define ATTENTA_STRICT_END _Pragma("GCC pop_options")
#endif

// GCC calls the bound of an array a change of sign where it is an int of a template, as in `Batch row[Vectors]`.
#if defined(ATTENTA_HEADERS) && defined(__GNUC__) && !defined(__clang__)
#define ATTENTA_BOUNDS_BEGIN _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wsign-conversion\"")
#define ATTENTA_BOUNDS_END _Pragma("GCC diagnostic pop")
#else
#define ATTENTA_BOUNDS_BEGIN
#define ATTENTA_BOUNDS_END
#endif

#define ATTENTA_BEGIN    \
    ATTENTA_STRICT_BEGIN \
    ATTENTA_BOUNDS_BEGIN \
    namespace attenta {  \
    inline namespace ATTENTA_ABI {
#define ATTENTA_END    \
    }                  \
    }                  \
    ATTENTA_BOUNDS_END \
    ATTENTA_STRICT_END
