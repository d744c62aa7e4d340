#include "exact.hpp"

#include <attenta/attenta.hpp>

#include <algorithm>
#include <cmath>

namespace compare {

namespace {

attenta::Heads<const float> first(const Block& b, std::int64_t tokens) {
    return attenta::hnd(b.values.data(), b.heads, b.tokens, b.dim).slice(0, tokens);
}

}  // namespace

ExactAttention exact_attention(const Source& s, std::int64_t context, std::int64_t queries, bool causal) {
    ExactAttention exact{{s.q.heads, queries, s.v.dim}, {}};
    exact.lse.resize(static_cast<std::size_t>(s.q.heads * queries));
    const auto q = first(s.q, context).slice(context - queries, queries);
    attenta::softmax_attention(q, first(s.k, context), first(s.v, context),
                               attenta::hnd(exact.o.values.data(), s.q.heads, queries, s.v.dim), {.causal = causal},
                               exact.lse.data());
    return exact;
}

Block exact_weights(const Source& s, std::int64_t context) {
    const double bytes = 4.0 * static_cast<double>(s.q.heads) * std::pow(static_cast<double>(context), 2);
    if (bytes > memory_bytes() / 8)
        attenta::fail("compare", "weights of " + std::to_string(context) + " tokens need " +
                                     std::to_string(std::llround(bytes / (1 << 20))) + " MiB");
    Block weights(s.q.heads, context, context);
    const float scale = 1 / std::sqrt(static_cast<float>(s.q.dim));
    const std::int64_t group = s.q.heads / s.k.heads;
    for (std::int64_t h = 0; h < s.q.heads; ++h)
        for (std::int64_t i = 0; i < context; ++i) {
            const float* const q = s.q.row(h, i);
            float* const w = weights.row(h, i);
            float most = -INFINITY, sum = 0;
            for (std::int64_t j = 0; j <= i; ++j) {
                const float* const k = s.k.row(h / group, j);
                float dot = 0;
                for (std::int64_t d = 0; d < s.q.dim; ++d) dot += q[d] * k[d];
                most = std::max(most, w[j] = scale * dot);
            }
            for (std::int64_t j = 0; j <= i; ++j) sum += w[j] = std::exp(w[j] - most);
            for (std::int64_t j = 0; j <= i; ++j) w[j] /= sum;
        }
    return weights;
}

}  // namespace compare
