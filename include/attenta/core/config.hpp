// Names of the build: version, ABI namespace, linkage of functions that are compiled once.
#pragma once

#define ATTENTA_VERSION_MAJOR 0
#define ATTENTA_VERSION_MINOR 1
#define ATTENTA_VERSION_PATCH 0
#define ATTENTA_VERSION "0.1.0"

// Two ways to use attenta, which may meet in one program:
//   attenta::attenta   compiled functions, the backend is picked at run time;
//   attenta::headers   (ATTENTA_HEADERS) everything inline, for the instruction set of the including file.
// Each has its own inline namespace, and in headers mode one per instruction set, so that the linker never merges
// functions that were compiled for different processors.
#if !defined(ATTENTA_HEADERS)
#define ATTENTA_ABI compiled
#define ATTENTA_INLINE
#elif defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define ATTENTA_ABI headers_avx512
#define ATTENTA_INLINE inline
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define ATTENTA_ABI headers_avx2
#define ATTENTA_INLINE inline
#elif defined(__aarch64__)
#define ATTENTA_ABI headers_neon64
#define ATTENTA_INLINE inline
#else
#define ATTENTA_ABI headers_sse2
#define ATTENTA_INLINE inline
#endif

#define ATTENTA_BEGIN   \
    namespace attenta { \
    inline namespace ATTENTA_ABI {
#define ATTENTA_END \
    }               \
    }
