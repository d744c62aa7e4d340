// Decays of a chunk, products of exp(g): of every token, from the chunk's start, to its end and in between, as far as
// each kind of gate needs them. See loop.hpp.
#pragma once

#include <attenta/engine/scan/chunk.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

/// y = exp(x), x <= 0.
template <class Arch>
void map_exp(const float* x, float* y, std::int64_t n) {
    simd::map_row<Arch>(x, y, n, [](simd::Batch<Arch> v) ATTENTA_FLATTEN { return simd::exp_nonpositive<Arch>(v); });
}

/// Of one decay exp(g) for all tokens: those of a full chunk, which serve every chunk of the head.
template <class Arch>
void constant_decays(const Chunk<Arch>& c, double g) {
    const Scratch& x = c.scratch;
    for (std::int64_t j = 0; j <= chunk; ++j)
        x.power[j] = j == 0 ? 1.f : static_cast<float>(std::exp(g * static_cast<double>(j)));
    std::copy_n(x.power + 1, chunk, x.from_start);
    for (std::int64_t t = 0; t < chunk; ++t)
        for (std::int64_t s = 0; s < chunk; ++s) x.between[t * chunk + s] = s <= t ? x.power[t - s] : 0.f;
}

template <class Arch>
void token_decays(const Chunk<Arch>& c) {
    constexpr std::int64_t L = Chunk<Arch>::L;
    const Scratch& x = c.scratch;
    float g[chunk], sum[chunk];
    double total[chunk], running = 0;
    for (std::int64_t t = 0; t < c.n; ++t) {
        // The exponential is 0 there, and no inf - inf comes about. In this order NaN stays.
        g[t] = std::max(c.row(c.r.g, c.span.begin + t)[0], -104.f);
        total[t] = running += static_cast<double>(g[t]);
        sum[t] = static_cast<float>(running);
    }
    map_exp<Arch>(g, x.token_decay, c.n);
    map_exp<Arch>(sum, x.from_start, c.n);
    for (std::int64_t t = 0; t < c.n; ++t) sum[t] = static_cast<float>(running - total[t]);
    map_exp<Arch>(sum, x.to_end, c.n);
    for (std::int64_t t = 0; t < c.n; ++t) {
        float* const now = x.between + t * chunk;
        if (t > 0)
            for (std::int64_t s = 0; s < round_up(t, L); s += L)
                (simd::load<Arch>(now - chunk + s) * simd::Batch<Arch>(x.token_decay[t])).store_unaligned(now + s);
        now[t] = 1.f;
    }
}

/// exp(g) of each token, and of the whole chunk the exponential of the sum.
template <class Arch>
void channel_decays(const Chunk<Arch>& c) {
    const Scratch& x = c.scratch;
    std::fill_n(x.gate_sums, c.dim, 0.);
    for (std::int64_t t = 0; t < c.n; ++t) {
        const float* const g = c.row(c.r.g, c.span.begin + t);
        map_exp<Arch>(g, x.decay + t * c.stride, c.dim);
        std::fill(x.decay + t * c.stride + c.dim, x.decay + (t + 1) * c.stride, 0.f);
        for (std::int64_t d = 0; d < c.dim; ++d) x.gate_sums[d] += static_cast<double>(g[d]);
    }
    for (std::int64_t d = 0; d < c.dim; ++d) x.chunk_decay[d] = static_cast<float>(std::max(x.gate_sums[d], -104.));
    map_exp<Arch>(x.chunk_decay, x.chunk_decay, c.dim);
    std::fill(x.chunk_decay + c.dim, x.chunk_decay + c.stride, 0.f);
}

/// What of a head's decays serves all its chunks.
template <class Arch>
inline void begin_decays(const Chunk<Arch>& c) {
    const bool chunks = c.r.k.tokens > few_tokens;
    if (!c.by_channel && !c.by_token) {
        const double g = c.r.g.data ? static_cast<double>(c.row(c.r.g, 0)[0]) : 0;
        c.scratch.token_decay[0] = static_cast<float>(std::exp(g));
        if (chunks) constant_decays(c, g);
    }
    if (c.by_token && chunks) std::fill_n(c.scratch.between, chunk * chunk, 0.f);  // stays so above the diagonal
}

template <class Arch>
void chunk_decays(const Chunk<Arch>& c) {
    if (c.by_channel)
        channel_decays(c);
    else if (c.by_token)
        token_decays(c);
}

/// From behind token s to the chunk's end, where decays do not differ by channel.
template <class Arch>
inline float decay_to_end(const Chunk<Arch>& c, std::int64_t s) {
    return c.by_token ? c.scratch.to_end[s] : c.scratch.power[c.n - 1 - s];
}
template <class Arch>
inline float decay_of_chunk(const Chunk<Arch>& c) {
    return c.by_token ? c.scratch.from_start[c.n - 1] : c.scratch.power[c.n];
}

}  // namespace scan

ATTENTA_END
