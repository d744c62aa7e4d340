#pragma once

#include <attenta/linear/recurrent/log_linear_kernels.hpp>
#include <attenta/simd/for_vectors.hpp>

#include <cstdint>
#include <type_traits>

ATTENTA_BEGIN

namespace detail::kernels {

/// Rows d .. d + Rows - 1 of the state.
template <class Arch, int Rows>
void step_level_rows(const LevelStep& s, std::int64_t d) {
    using B = simd::Batch<Arch>;
    simd::for_vectors<Arch>(s.columns, [&](auto load, auto store) ATTENTA_FLATTEN {
        B row[Rows];
        simd::unrolled<Rows>([&](auto i) ATTENTA_FLATTEN {
            row[i] = B(s.decay) * load(s.from + (d + i) * s.stride);
            float* const to = s.to + (d + i) * s.stride;
            store(to, s.add ? load(to) + row[i] : row[i]);
        });
        for (std::int64_t g = 0; g < s.group; ++g) {
            const float* const q = s.q + g * s.dim + d;
            B sum = load(s.o + g * s.columns);
            simd::unrolled<Rows>([&](auto i) ATTENTA_FLATTEN { sum = simd::fma<Arch>(B(q[i]), row[i], sum); });
            store(s.o + g * s.columns, sum);
        }
    });
}

template <class Arch>
void log_linear_level(const LevelStep& s) {
    constexpr int together = 4;
    std::int64_t d = 0;
    for (; d + together <= s.dim; d += together) step_level_rows<Arch, together>(s, d);
    for (; d < s.dim; ++d) step_level_rows<Arch, 1>(s, d);
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(LevelStepFunction, log_linear_level, &kernels::log_linear_level<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
