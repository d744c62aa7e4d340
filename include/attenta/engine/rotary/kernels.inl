#pragma once

#include <attenta/engine/rotary/kernels.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/store.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

ATTENTA_BEGIN

namespace rotary {

/// f(load, store) for each vector of n elements: load(p) and store(p, x) are of its place in p.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_vectors(std::int64_t n, F&& f) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t i = 0;
    for (; i + L <= n; i += L)
        f([i](const auto* p) ATTENTA_FLATTEN { return simd::load<Arch>(p + i); },
          [i](auto* p, simd::Batch<Arch> x) ATTENTA_FLATTEN { simd::store<Arch>(p + i, x); });
    const std::int64_t left = n - i;
    if (left > 0)
        f([i, left](const auto* p) ATTENTA_FLATTEN { return simd::load_part<Arch>(p + i, left); },
          [i, left](auto* p, simd::Batch<Arch> x) ATTENTA_FLATTEN { simd::store_first<Arch>(p + i, x, left); });
}

template <class Arch, class T>
void rotate(const void* from, const float* table, std::int64_t pairs, bool interleaved, std::int64_t dim, void* out) {
    const T* const x = static_cast<const T*>(from);
    T* const to = static_cast<T*>(out);
    if (interleaved) {
        for_vectors<Arch>(2 * pairs, [&](auto load, auto store) ATTENTA_FLATTEN {
            store(to, simd::complex_product<Arch>(load(x), load(table)));
        });
    } else {
        for_vectors<Arch>(pairs, [&](auto load, auto store) ATTENTA_FLATTEN {
            const simd::Batch<Arch> a = load(x), b = load(x + pairs), c = load(table), s = load(table + pairs);
            store(to, a * c - b * s);
            store(to + pairs, b * c + a * s);
        });
    }
    if (to != x) std::copy(x + 2 * pairs, x + dim, to + 2 * pairs);
}

/// What is left of angles position · frequencies[i] beyond whole turns, for n of them, in [−π, π]. Returns the most turns.
inline double reduced_angles(const double* frequencies, std::int64_t n, double position, float* to) {
    constexpr double turn = 2 * std::numbers::pi, magic = 0x1.8p52;
    double most = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        const double turns = position * frequencies[i] * (1 / turn);
        most = std::max(most, std::abs(turns));
        to[i] = static_cast<float>((turns - ((turns + magic) - magic)) * turn);
    }
    return most;
}

template <class Arch>
void set_angles_of_row(const double* frequencies, std::int64_t pairs, double position, double factor, bool interleaved,
                       float* to) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>, block = 64;
    const B scale(static_cast<float>(factor));
    for (std::int64_t first = 0; first < pairs; first += block) {
        const std::int64_t n = std::min(block, pairs - first);
        float angle[block] = {}, cosine[block], sine[block];
        if (reduced_angles(frequencies + first, n, position, angle) < 0x1p45) {
            for (std::int64_t i = 0; i < n; i += L) {
                B s, c;
                simd::sin_cos<Arch>(simd::load<Arch>(angle + i), s, c);
                (c * scale).store_unaligned(cosine + i);
                (s * scale).store_unaligned(sine + i);
            }
        } else {
            for (std::int64_t i = 0; i < n; ++i) {
                cosine[i] = static_cast<float>(factor * std::cos(position * frequencies[first + i]));
                sine[i] = static_cast<float>(factor * std::sin(position * frequencies[first + i]));
            }
        }
        if (!interleaved) {
            std::copy_n(cosine, n, to + first);
            std::copy_n(sine, n, to + first + pairs);
            continue;
        }
        for (std::int64_t i = 0; i < n; ++i) {
            to[2 * (first + i)] = cosine[i];
            to[2 * (first + i) + 1] = sine[i];
        }
    }
}

ATTENTA_DEFINE_KERNEL(SetAngles, set_rotary_angles, &set_angles_of_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(Kernels, rotate_rows,
                      {&rotate<simd::NativeArch, float>, &rotate<simd::NativeArch, bfloat16>,
                       &rotate<simd::NativeArch, float16>})

}  // namespace rotary

ATTENTA_END
