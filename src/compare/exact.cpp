#include "exact.hpp"

#include <attenta/attenta.hpp>

#include <cmath>
#include <cstddef>

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
    const auto q = first(s.q, context);
    const attenta::KvView kv = attenta::KvView::of(first(s.k, context), first(s.v, context));
    const attenta::SoftmaxOptions causal{.causal = true};
    std::vector<attenta::RowStatistics> rows(static_cast<std::size_t>(s.q.heads * context));
    attenta::softmax_statistics(q, kv, rows.data(), causal);
    attenta::softmax_weights(
        q, kv, rows.data(), {attenta::edit(attenta::edits::LastRows{weights.values.data(), context, context, context})},
        {}, causal);
    return weights;
}

}  // namespace compare
