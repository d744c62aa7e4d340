// Arithmetic on subnormal numbers takes a hundred times longer, and attention has no use for them.
#pragma once

#include <attenta/core/config.hpp>

#include <cstdint>

ATTENTA_BEGIN

/// Subnormal numbers count as zero on this thread while it lives; the caller's setting comes back.
class FlushToZero {
public:
#if defined(__SSE__)
    FlushToZero() : old_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(old_ | 0x8040u); }
    ~FlushToZero() { __builtin_ia32_ldmxcsr(old_); }

private:
    unsigned old_;
#elif defined(__aarch64__)
    FlushToZero() {
        asm volatile("mrs %0, fpcr" : "=r"(old_));
        asm volatile("msr fpcr, %0" ::"r"(old_ | (std::uint64_t{1} << 24)) : "memory");
    }
    ~FlushToZero() { asm volatile("msr fpcr, %0" ::"r"(old_) : "memory"); }

private:
    std::uint64_t old_ = 0;
#else
    FlushToZero() = default;
    ~FlushToZero() {}
#endif
    FlushToZero(const FlushToZero&) = delete;
    FlushToZero& operator=(const FlushToZero&) = delete;
};

ATTENTA_END
