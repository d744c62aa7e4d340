#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/engine/dense/convolve_kernels.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>

ATTENTA_BEGIN

namespace dense::kernels {

/// `Outputs` channels of `Vectors` vectors of a row at a time: sums stay in registers.
template <class Arch, int Outputs>
class ConvolveRow {
    using B = simd::Batch<Arch>;
    static constexpr std::int64_t L = simd::lanes<Arch>;
    static constexpr int vectors = 8 / Outputs;

public:
    explicit ConvolveRow(const Convolution& task) : t_(task), side_(2 * task.map->margin + 1) {}

    void run(std::int64_t row) const {
        const std::int64_t width = t_.to.dim;
        std::int64_t x = 0;
        for (; x + vectors * L <= width; x += vectors * L) block<vectors>(row, x, L);
        for (; x < width; x += L) block<1>(row, x, std::min(L, width - x));
    }

private:
    template <int V>
    ATTENTA_ALWAYS_INLINE void block(std::int64_t row, std::int64_t x, std::int64_t last) const {
        B sum[Outputs][V];
        simd::unrolled<Outputs>(
            [&](auto o) ATTENTA_FLATTEN { simd::unrolled<V>([&](auto v) ATTENTA_FLATTEN { sum[o][v] = B(0.f); }); });
        const std::int64_t stride = t_.map->inner.token_stride;
        for (std::int64_t c = 0; c < t_.map->inner.heads; ++c) {
            const float* from = t_.map->corner(c) + row * stride + x;
            const float* w = t_.w.row(t_.output, c);
            for (std::int64_t a = 0; a < side_; ++a, from += stride, w += side_)
                for (std::int64_t b = 0; b < side_; ++b) {
                    B pixels[V];
                    simd::unrolled<V>([&](auto v) ATTENTA_FLATTEN { pixels[v] = simd::load<Arch>(from + b + v * L); });
                    simd::unrolled<Outputs>([&](auto o) ATTENTA_FLATTEN {
                        const B weight(w[o * t_.w.head_stride + b]);
                        simd::unrolled<V>(
                            [&](auto v) ATTENTA_FLATTEN { sum[o][v] = simd::fma<Arch>(weight, pixels[v], sum[o][v]); });
                    });
                }
        }
        simd::unrolled<Outputs>([&](auto o) ATTENTA_FLATTEN {
            simd::unrolled<V>([&](auto v) ATTENTA_FLATTEN { put(t_.output + o, row, x + v * L, sum[o][v], last); });
        });
    }

    /// `n` sums of a row of an output.
    void put(std::int64_t o, std::int64_t row, std::int64_t x, B y, std::int64_t n) const {
        const ConvolutionFinish& f = t_.finish;
        if (f.scale) y = y * B(f.scale[o]);
        if (f.bias) y = y + B(f.bias[o]);
        if (f.sigmoid) y = simd::sigmoid<Arch>(y);
        if (f.gates.data) {
            const float* const gates = f.gates.row(o, row) + x;
            const B gate = n == L ? simd::load<Arch>(gates) : simd::load_part<Arch>(gates, n);
            y = y * simd::sigmoid<Arch>(gate + B(f.gate_bias ? f.gate_bias[o] : 0.f));
        }
        float* const to = t_.to.row(o, row) + x;
        if (n == L)
            y.store_unaligned(to);
        else
            simd::store_part<Arch>(to, y, n);
    }

    const Convolution& t_;
    const std::int64_t side_;
};

template <class Arch, int Outputs>
void convolve_outputs(const Convolution& task) {
    const ConvolveRow<Arch, Outputs> rows(task);
    for (std::int64_t r = 0; r < task.rows; ++r) rows.run(task.row + r);
}

template <class Arch>
void convolve_rows(const Convolution& task) {
    const FlushToZero flush;
    switch (task.outputs) {
        case 1:
            return convolve_outputs<Arch, 1>(task);
        case 2:
            return convolve_outputs<Arch, 2>(task);
        case 3:
            return convolve_outputs<Arch, 3>(task);
        default:
            return convolve_outputs<Arch, 4>(task);
    }
}

}  // namespace dense::kernels

namespace dense {

ATTENTA_DEFINE_KERNEL(ConvolutionFunction, convolve_rows, &kernels::convolve_rows<simd::NativeArch>)

}  // namespace dense

ATTENTA_END
