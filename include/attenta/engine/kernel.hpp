// Kernels: what is compiled once per instruction set and chosen at run time.
//
//   a header    ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, relu)      // gives relu(), relu(Isa::avx2)
//   relu.cpp    the template, then
//               ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, relu, &kernels::relu<simd::NativeArch>)
//   CMake       attenta_add_kernels(target relu.cpp)
//
// A kernel is a constant of any type: a pointer to a function, or a table of such. attenta_add_kernels compiles the file
// once for each instruction set, which defines attenta_kernel_relu_<isa>, and once more as a plain source, which defines
// the choice among them. In headers mode there is the including file's instruction set alone.
#pragma once

#include <attenta/core/isa.hpp>

#if defined(ATTENTA_HEADERS)

#define ATTENTA_DECLARE_KERNEL(Type, name) inline const Type& name(attenta::Isa = attenta::active_isa());
#define ATTENTA_DEFINE_KERNEL(Type, name, ...)     \
    inline const Type& name(attenta::Isa) {        \
        static constexpr Type kernel{__VA_ARGS__}; \
        return kernel;                             \
    }

#else

#define ATTENTA_DECLARE_KERNEL(Type, name) const Type& name(attenta::Isa isa = attenta::active_isa());

#define ATTENTA_KERNEL_SYMBOL_(name, isa) attenta_kernel_##name##_##isa
#define ATTENTA_KERNEL_SYMBOL(name, isa) ATTENTA_KERNEL_SYMBOL_(name, isa)

#if defined(ATTENTA_KERNEL_ISA)

#define ATTENTA_DEFINE_KERNEL(Type, name, ...)                             \
    extern "C" const Type ATTENTA_KERNEL_SYMBOL(name, ATTENTA_KERNEL_ISA); \
    extern "C" constexpr Type ATTENTA_KERNEL_SYMBOL(name, ATTENTA_KERNEL_ISA) = {__VA_ARGS__};

#else

// attenta_add_kernels says which instruction sets ATTENTA_ISAS leaves out.
#if !(defined(__x86_64__) || defined(__i386__)) || defined(ATTENTA_WITHOUT_SSE2)
#define ATTENTA_ON_SSE2(X, Type, name)
#else
#define ATTENTA_ON_SSE2(X, Type, name) X(Type, name, sse2)
#endif
#if !(defined(__x86_64__) || defined(__i386__)) || defined(ATTENTA_WITHOUT_AVX2)
#define ATTENTA_ON_AVX2(X, Type, name)
#else
#define ATTENTA_ON_AVX2(X, Type, name) X(Type, name, avx2)
#endif
#if !(defined(__x86_64__) || defined(__i386__)) || defined(ATTENTA_WITHOUT_AVX512)
#define ATTENTA_ON_AVX512(X, Type, name)
#else
#define ATTENTA_ON_AVX512(X, Type, name) X(Type, name, avx512)
#endif
#if defined(__aarch64__)
#define ATTENTA_ON_NEON64(X, Type, name) X(Type, name, neon64)
#else
#define ATTENTA_ON_NEON64(X, Type, name)
#endif
#define ATTENTA_FOR_EACH_ISA(X, Type, name) \
    ATTENTA_ON_SSE2(X, Type, name)          \
    ATTENTA_ON_AVX2(X, Type, name) ATTENTA_ON_AVX512(X, Type, name) ATTENTA_ON_NEON64(X, Type, name)
#define ATTENTA_KERNEL_PROTOTYPE(Type, name, isa) extern "C" const Type ATTENTA_KERNEL_SYMBOL(name, isa);
#define ATTENTA_KERNEL_CASE(Type, name, isa) \
    if (which == attenta::Isa::isa) return ATTENTA_KERNEL_SYMBOL(name, isa);

#define ATTENTA_DEFINE_KERNEL(Type, name, ...)                 \
    ATTENTA_FOR_EACH_ISA(ATTENTA_KERNEL_PROTOTYPE, Type, name) \
    const Type& name(attenta::Isa which) {                     \
        ATTENTA_FOR_EACH_ISA(ATTENTA_KERNEL_CASE, Type, name)  \
        static constexpr Type none{};                          \
        return none;                                           \
    }

#endif
#endif
