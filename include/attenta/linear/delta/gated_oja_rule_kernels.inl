#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/linear/delta/gated_oja_rule_kernels.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/simd/transpose.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

/// The rows of a token in scratch: values padded with zeros to whole vectors.
struct OjaToken {
    float *k, *q, *decay, *v, *decayed_v, *o;
    std::int64_t width;

    OjaToken(float* scratch, std::int64_t group, std::int64_t dim, std::int64_t padded)
        : k(scratch),
          q(k + dim),
          decay(q + group * dim),
          v(decay + padded),
          decayed_v(v + padded),
          o(decayed_v + padded),
          width(padded) {}
};

inline void map_oja_row(const scan::FeatureMap& map, const Heads<const float>& x, std::int64_t head, std::int64_t t,
                        float* to) {
    if (map)
        map.function({map.parameters, x.dim, x.dim, head, t}, x.row(head, t), to);
    else
        std::copy_n(x.row(head, t), x.dim, to);
}

template <class Arch>
void load_oja_token(const OjaSteps& s, std::int64_t head, std::int64_t t, const OjaToken& x) {
    const scan::Request& r = s.r;
    const std::int64_t heads = s.state->heads, dim_v = r.v.dim;
    const auto spread = [](std::int64_t i, std::int64_t of, std::int64_t n) { return i / (of / n); };
    map_oja_row(r.k_map, r.k, spread(head, heads, r.k.heads), t, x.k);
    for (std::int64_t i = 0; i < s.group(); ++i)
        map_oja_row(r.q_map, r.q, spread(head * s.group() + i, s.o.heads, r.q.heads), t, x.q + i * r.q.dim);
    std::fill_n(x.decay, 3 * x.width, 0.f);
    std::copy_n(r.v.row(spread(head, heads, r.v.heads), t), dim_v, x.v);
    if (r.gv.data)
        simd::map_row<Arch>(r.gv.row(head, t), x.decay, dim_v,
                            [](simd::Batch<Arch> g) ATTENTA_FLATTEN { return simd::exp_nonpositive<Arch>(g); });
    else
        std::fill_n(x.decay, dim_v, 1.f);
    for (std::int64_t i = 0; i < x.width; i += simd::lanes<Arch>)
        (simd::load<Arch>(x.decay + i) * simd::load<Arch>(x.v + i)).store_unaligned(x.decayed_v + i);
    std::fill_n(x.o, s.group() * x.width, 0.f);
}

/// A vector of a row of the state, of which `left` elements exist.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> load_oja(const float* row, std::int64_t left) {
    return left >= simd::lanes<Arch> ? simd::load<Arch>(row) : simd::load_part<Arch>(row, left);
}

/// What the decayed row holds of the value.
template <class Arch>
float oja_prediction(const float* row, const float* value, std::int64_t n) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    constexpr int chains = 4;
    using B = simd::Batch<Arch>;
    B sum[chains] = {B(0.f), B(0.f), B(0.f), B(0.f)};
    std::int64_t i = 0;
    for (; i + chains * L <= n; i += chains * L)
        simd::unrolled<chains>([&](auto c) ATTENTA_FLATTEN {
            sum[c] = simd::fma<Arch>(simd::load<Arch>(row + i + c * L), simd::load<Arch>(value + i + c * L), sum[c]);
        });
    for (; i < n; i += L) sum[0] = simd::fma<Arch>(load_oja<Arch>(row + i, n - i), simd::load<Arch>(value + i), sum[0]);
    return simd::reduce_add<Arch>((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/// row ← exp(gv) ⊙ row + n v, which the group's first query reads on the way; the others behind it.
template <class Arch>
void advance_oja_row(const OjaToken& x, float* row, std::int64_t dim_v, float n, std::int64_t group, std::int64_t dim,
                     std::int64_t d) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    using B = simd::Batch<Arch>;
    const B add(n), q(x.q[d]);
    for (std::int64_t i = 0; i < dim_v; i += L) {
        const std::int64_t left = dim_v - i;
        const B now = simd::fma<Arch>(add, simd::load<Arch>(x.v + i),
                                      simd::load<Arch>(x.decay + i) * load_oja<Arch>(row + i, left));
        if (left >= L)
            now.store_unaligned(row + i);
        else
            simd::store_part<Arch>(row + i, now, left);
        simd::fma<Arch>(q, now, simd::load<Arch>(x.o + i)).store_unaligned(x.o + i);
        for (std::int64_t j = 1; j < group; ++j) {
            float* const o = x.o + j * x.width + i;
            simd::fma<Arch>(B(x.q[j * dim + d]), now, simd::load<Arch>(o)).store_unaligned(o);
        }
    }
}

template <class Arch>
void oja_steps(const OjaSteps& s, std::int64_t head, float* scratch) {
    const FlushToZero flush;
    const scan::Request& r = s.r;
    const std::int64_t dim = r.k.dim, dim_v = r.v.dim, group = s.group();
    const OjaToken x(scratch, group, dim, round_up(dim_v, simd::lanes<Arch>));
    for (std::int64_t t = 0; t < r.k.tokens; ++t) {
        load_oja_token<Arch>(s, head, t, x);
        const float beta = r.beta.row(head, t)[0];
        float* row = s.state->of(head);
        for (std::int64_t d = 0; d < dim; ++d, row += dim_v) {
            const float n = beta * (x.k[d] - oja_prediction<Arch>(row, x.decayed_v, dim_v));
            advance_oja_row<Arch>(x, row, dim_v, n, group, dim, d);
        }
        for (std::int64_t i = 0; i < group; ++i)
            simd::finish_row<Arch>(s.o.row(head * group + i, t), x.o + i * x.width, dim_v, r.scale);
    }
}

template <class Arch>
void transpose_matrix(const float* from, std::int64_t rows, std::int64_t cols, float* to) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    for (std::int64_t i = 0; i < rows; i += L)
        for (std::int64_t j = 0; j < cols; j += L) {
            const std::int64_t height = std::min(L, rows - i), width = std::min(L, cols - j);
            if (height < L || width < L) {
                for (std::int64_t r = i; r < i + height; ++r)
                    for (std::int64_t c = j; c < j + width; ++c) to[c * rows + r] = from[r * cols + c];
                continue;
            }
            simd::Batch<Arch> tile[static_cast<std::size_t>(L)];
            simd::unrolled<static_cast<int>(L)>(
                [&](auto r) ATTENTA_FLATTEN { tile[r] = simd::load<Arch>(from + (i + r) * cols + j); });
            simd::transpose<Arch>(tile);
            simd::unrolled<static_cast<int>(L)>(
                [&](auto c) ATTENTA_FLATTEN { tile[c].store_unaligned(to + (j + c) * rows + i); });
        }
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(OjaStepFunction, oja_steps, &kernels::oja_steps<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(TransposeFunction, transpose_matrix, &kernels::transpose_matrix<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
