// Rows of a chunk: mapped where the mechanism maps, padded with zeros to whole vectors; values in panels. See loop.hpp.
#pragma once

#include <attenta/engine/scan/chunk.hpp>
#include <attenta/simd/prefetch.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

/// One row. Returns the logarithm that the map returns.
template <class Arch>
inline float load_row(const Chunk<Arch>& c, const FeatureMap& map, const Heads<const float>& x, std::int64_t head,
                      std::int64_t token, float* to) {
    const float* const from = x.row(head, token);
    float log = 0;
    if (map.together)
        map.together({.first = {map.parameters, x.dim, c.dim, head, token}, .count = 1}, from, to);
    else if (map)
        log = map.function({map.parameters, x.dim, c.dim, head, token, c.head}, from, to);
    else
        std::copy_n(from, c.dim, to);
    std::fill(to + c.dim, to + c.stride, 0.f);
    return log;
}

/// The chunk's rows of head `head` from token `begin` on: where they lie, or in `to` if they are mapped or end within a
/// vector.
template <class Arch>
Rows load_rows(const Chunk<Arch>& c, const FeatureMap& map, const Heads<const float>& x, std::int64_t head,
               std::int64_t begin, float* to, float* logs) {
    if (!map && c.dim % c.L == 0) return {x.row(head, begin), x.token_stride};
    if (map.together) {
        map.together({{map.parameters, x.dim, c.dim, head, begin}, c.n, x.token_stride, c.stride}, x.row(head, begin),
                     to);
        for (std::int64_t t = 0; t < c.n; ++t) std::fill(to + t * c.stride + c.dim, to + (t + 1) * c.stride, 0.f);
        if (logs) std::fill_n(logs, c.n, 0.f);
        return {to, c.stride};
    }
    for (std::int64_t t = 0; t < c.n; ++t) {
        if (const std::int64_t next = t + mapped_rows_ahead; next < c.n)
            simd::prefetch_row<simd::Level::l1>(x.row(head, begin + next), x.dim);
        const float log = load_row(c, map, x, head, begin + t, to + t * c.stride);
        if (logs) logs[t] = log;
    }
    return {to, c.stride};
}

/// y[i] = a[i] b[i]
template <class Arch>
ATTENTA_ALWAYS_INLINE void multiply_rows(const float* a, const float* b, float* y, std::int64_t n) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t i = 0;
    for (; i + L <= n; i += L) (simd::load<Arch>(a + i) * simd::load<Arch>(b + i)).store_unaligned(y + i);
    for (; i < n; ++i) y[i] = a[i] * b[i];
}

/// The rows that predict, times their gates.
template <class Arch>
void erase_rows(Chunk<Arch>& c) {
    for (std::int64_t t = 0; t < c.n; ++t) {
        float* const to = c.scratch.a + t * c.stride;
        multiply_rows<Arch>(c.a[t], c.row(c.r.erase, c.span.begin + t), to, c.dim);
        std::fill(to + c.dim, to + c.stride, 0.f);
    }
    c.a = {c.scratch.a, c.stride};
}

template <class Arch>
void load_keys(Chunk<Arch>& c) {
    const auto rows = [&](const FeatureMap& map, const Heads<const float>& x, float* to) {
        return load_rows(c, map, x, spread(c.head, c.job.state_heads, x.heads), c.span.begin, to, nullptr);
    };
    c.k = rows(c.r.k_map, c.r.k, c.scratch.k);
    c.a = c.r.a.data ? rows(c.r.a_map, c.r.a, c.scratch.a) : c.k;
    if (c.r.erase.data) erase_rows(c);
    if (c.low_rank()) c.b = rows({}, c.r.b, c.scratch.b);
}

/// Queries of output head i of the group.
template <class Arch>
void load_queries(Chunk<Arch>& c, std::int64_t i) {
    c.q = load_rows(c, c.r.q_map, c.r.q, c.query_head(i), c.span.query_begin, c.scratch.q, c.scratch.query_log);
}

/// A vector of which `left` elements exist, none if that is below 1.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> load_up_to(const float* x, std::int64_t left) {
    return left >= simd::lanes<Arch> ? simd::load<Arch>(x)
           : left > 0                ? simd::load_part<Arch>(x, left)
                                     : simd::Batch<Arch>(0.f);
}

/// A panel's columns of one row of the task's, times `factor`.
template <class Arch>
void load_columns(const Chunk<Arch>& c, const float* from, std::int64_t panel, float factor, float* to) {
    constexpr std::int64_t L = Chunk<Arch>::L, W = Chunk<Arch>::W;
    const std::int64_t here = std::min(W, c.columns - panel * W);
    for (std::int64_t i = 0; i < W; i += L)
        (load_up_to<Arch>(from + panel * W + i, here - i) * simd::Batch<Arch>(factor)).store_unaligned(to + i);
}

/// Values times the gates that write them.
template <class Arch>
void gate_values(const Chunk<Arch>& c) {
    constexpr std::int64_t W = Chunk<Arch>::W;
    for (std::int64_t s = 0; s < c.n; ++s) {
        const float* const gates = c.row(c.r.write, c.span.begin + s) + c.column;
        for (std::int64_t p = 0; p < c.panels; ++p) {
            float* const v = c.scratch.v + (p * chunk + s) * W;
            multiply_rows<Arch>(v, gates + p * W, v, std::min(W, c.columns - p * W));
        }
    }
}

template <class Arch>
void load_values(const Chunk<Arch>& c) {
    constexpr std::int64_t W = Chunk<Arch>::W;
    const bool scaled = !c.corrects() && c.r.beta.data;
    const float* v = c.row(c.r.v, c.span.begin) + c.column;
    for (std::int64_t s = 0; s < c.n; ++s, v += c.r.v.token_stride) {
        const float factor = scaled ? c.beta(c.span.begin + s) : 1.f;
        for (std::int64_t p = 0; p < c.panels; ++p) load_columns(c, v, p, factor, c.scratch.v + (p * chunk + s) * W);
    }
    if (c.r.write.data) gate_values(c);
}

}  // namespace scan

ATTENTA_END
