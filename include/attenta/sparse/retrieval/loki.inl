#pragma once

#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/retrieval/kernels.hpp>
#include <attenta/sparse/retrieval/loki.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_basis(const char* f, Heads<const float> pca, std::int64_t components) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    if (pca.tokens != pca.dim)
        fail(f, "pca has " + text(pca.tokens) + " rows and " + text(pca.dim) + " columns, needs as many");
    if (components < 1 || components > pca.dim)
        fail(f, "d is " + text(components) + ", needs 1 to the " + text(pca.dim) + " features of pca");
}

inline void check_loki(const LokiInputs& x, const LokiOptions& options) {
    check_basis("loki", x.pca, options.components(x.q.dim));
    require_at_least("loki", "top_k", options.read_keys(x.kv.length(0)), 1);
    if (!x.low) return;
    check_kept("loki", "keys of low", "heads", x.low->rows().heads(), x.kv.heads);
    check_kept("loki", "keys of low", "features", x.low->dim(), x.q.dim);
    check_kept("loki", "keys of low", "components", x.low->rows().dim(), options.components(x.q.dim));
    check_kept("loki", "keys of low", "keys", x.low->rows().size(), x.kv.length(0));
}

}  // namespace detail

ATTENTA_INLINE LowRankKeys::LowRankKeys(Heads<const float> pca, std::int64_t components, Dtype storage)
    : dim_(pca.dim) {
    detail::check_basis("LowRankKeys", pca, components);
    table_ = KeyPanels(pca.heads, components, storage);
    for (std::int64_t h = 0; h < pca.heads; ++h)
        for (std::int64_t c = 0; c < dim_; ++c) basis_.insert(basis_.end(), pca.row(h, c), pca.row(h, c) + components);
}

ATTENTA_INLINE void LowRankKeys::project(std::int64_t kv_head, const float* x, float* to) const {
    const std::int64_t components = table_.dim();
    project_row()(x, dim_, basis_.data() + kv_head * dim_ * components, components, components, to);
}

ATTENTA_INLINE void LowRankKeys::update(const KvView& kv) {
    detail::check_kept_keys("LowRankKeys::update", kv, table_.heads(), dim_);
    const std::int64_t first = table_.size(), keys = kv.length(0);
    if (keys <= first) return;
    table_.append(keys - first);
    std::vector<float> key(static_cast<std::size_t>(dim_)), row(static_cast<std::size_t>(table_.dim()));
    for (std::int64_t h = 0; h < kv.heads; ++h)
        for (std::int64_t j = first; j < keys; ++j) {
            detail::read_key(kv, h, j, key.data());
            project(h, key.data(), row.data());
            table_.set(h, j, row.data());
        }
}

namespace detail {

inline void select_loki(const LokiInputs& x, KeyLists& lists, const LokiOptions& options, Context& context) {
    check_loki(x, options);
    const std::int64_t keys = x.kv.length(0), components = options.components(x.q.dim);
    LowRankKeys own;
    if (!x.low) {
        own = LowRankKeys(x.pca, components);
        own.update(x.kv);
    }
    const LowRankKeys& low = x.low ? *x.low : own;
    const CallQueries rotated(x.q.heads, x.q.tokens, components, context);
    const Heads<float>& q = rotated.view();
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) low.project(h / (q.heads / x.kv.heads), x.q.row(h, t), q.row(h, t));
    select::Request r{.function = "loki", .q = q, .panels = low.rows().view(), .heads = q.heads};
    r.visible_keys = r.units = {.count = keys, .shift = 1};
    r.top = options.read_keys(keys);
    r.q_offset = keys - q.tokens;
    r.cache_keys = keys;
    select::check(r);
    select::run(r, lists, context);
}

}  // namespace detail

ATTENTA_INLINE void loki_lists(const LokiInputs& x, KeyLists& lists, const LokiOptions& options, Context& context) {
    detail::check_selection("loki", InputList(x), x.q, x.kv);
    detail::select_loki(x, lists, options, context);
}

ATTENTA_INLINE void loki(const LokiInputs& x, const SparseOutputs& out, const LokiOptions& options, Context& context) {
    const auto call = detail::check_sparse("loki", x, out, options, Positions::last, context);
    detail::CallLists lists(call);
    detail::select_loki(x, *lists, options, context);
    call.attend(*lists, Causal{});
}

ATTENTA_END
