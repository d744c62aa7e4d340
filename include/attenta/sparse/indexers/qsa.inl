#pragma once

#include <attenta/sparse/indexers/qsa.hpp>

#include <algorithm>
#include <cmath>
#include <string>

ATTENTA_BEGIN

namespace detail {

inline void check_qsa(const QsaInputs& x, const QsaOptions& options) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    require_at_least("qsa", "ratio", options.ratio, 1);
    require_at_least("qsa", "budget", options.budget, options.ratio);
    check_eps("qsa", options.eps);
    // Keys of no complete block are a tensor without elements, which may have no data.
    const bool tokens = x.k_idx.data, blocks = x.k_block.data || x.k_block.cols > 0;
    if (tokens == blocks)
        fail("qsa", std::string("k_idx and k_block are ") + (tokens ? "both" : "not") + " given, needs one of them");
    const std::int64_t complete = x.kv.length(0) / options.ratio;
    if (blocks && x.k_block.rows != complete)
        fail("qsa", "k_block has " + text(x.k_block.rows) + " rows, needs " + text(complete) +
                        ", one for each complete block");
    const auto turned = 2 * static_cast<std::int64_t>(x.rope_freq.size());
    if (turned > x.q_idx.dim)
        fail("qsa",
             "rope_freq turns " + text(turned) + " features, needs at most the " + text(x.q_idx.dim) + " of q_idx");
}

}  // namespace detail

ATTENTA_INLINE QsaBlockKeys::QsaBlockKeys(const Form& form)
    : dim_(form.dim),
      ratio_(form.ratio),
      norm_(form.norm.begin(), form.norm.end()),
      freq_(form.freq.begin(), form.freq.end()),
      eps_(double{form.eps}) {
    detail::require_at_least("QsaBlockKeys", "dim", dim_, 1);
    detail::require_at_least("QsaBlockKeys", "ratio", ratio_, 1);
    detail::check_eps("QsaBlockKeys", form.eps);
    const auto factors = static_cast<std::int64_t>(norm_.size()), turned = 2 * static_cast<std::int64_t>(freq_.size());
    if (factors != 0 && factors != dim_)
        fail("QsaBlockKeys", "norm has " + std::to_string(factors) + " factors, needs " + std::to_string(dim_));
    if (turned > dim_)
        fail("QsaBlockKeys",
             "freq turns " + std::to_string(turned) + " features, needs at most " + std::to_string(dim_));
    sum_.resize(static_cast<std::size_t>(dim_));
}

ATTENTA_INLINE void QsaBlockKeys::append(const Matrices<const float>& k_idx) {
    if (k_idx.cols != dim_)
        fail("QsaBlockKeys::append",
             "keys have " + std::to_string(k_idx.cols) + " features, needs " + std::to_string(dim_));
    for (std::int64_t t = 0; t < k_idx.rows; ++t) {
        const float* const key = k_idx.row(0, t);
        for (std::int64_t c = 0; c < dim_; ++c) sum_[static_cast<std::size_t>(c)] += double{key[c]};
        if (++keys_ % ratio_ == 0) end_block();
    }
}

ATTENTA_INLINE void QsaBlockKeys::end_block() {
    const std::size_t dim = sum_.size(), half = freq_.size();
    double squares = 0;
    for (double& x : sum_) {
        x /= static_cast<double>(ratio_);
        squares += x * x;
    }
    const double norm = 1 / std::sqrt(squares / static_cast<double>(dim) + eps_);
    for (std::size_t c = 0; c < norm_.size(); ++c) sum_[c] *= norm * double{norm_[c]};
    for (std::size_t c = 0; c < half; ++c) {
        const double angle = static_cast<double>(keys_ - ratio_) * double{freq_[c]};
        const double a = sum_[c], b = sum_[c + half], cos = std::cos(angle), sin = std::sin(angle);
        sum_[c] = a * cos - b * sin;
        sum_[c + half] = b * cos + a * sin;
    }
    for (double& x : sum_) {
        rows_.push_back(static_cast<float>(x));
        x = 0;
    }
}

namespace detail {

inline void select_qsa(const QsaInputs& x, KeyLists& lists, const QsaOptions& options, Context& context) {
    check_qsa(x, options);
    QsaBlockKeys own;
    if (x.k_idx.data) {
        own = QsaBlockKeys({x.q_idx.dim, options.ratio, x.k_norm, x.rope_freq, options.eps});
        own.append(x.k_idx);
    }
    const std::int64_t keys = x.kv.length(0), blocks = keys / options.ratio;
    select::Request r{.function = "qsa", .q = x.q_idx, .relu = true};
    r.keys = keys_of(x.k_idx.data ? own.rows() : x.k_block);
    // The own block is complete with its last token: then it competes as any other.
    r.visible_keys = r.units = {.count = blocks, .shift = 1, .unit = options.ratio};
    r.top = options.budget / options.ratio;
    r.q_offset = keys - x.q.tokens;
    r.unit_keys = options.ratio;
    r.cache_keys = keys;
    r.others = true;
    select::check(r);
    select::run(r, lists, context);
}

}  // namespace detail

ATTENTA_INLINE void qsa_lists(const QsaInputs& x, KeyLists& lists, const QsaOptions& options, Context& context) {
    detail::check_selection("qsa", InputList(x), x.q, x.kv);
    detail::select_qsa(x, lists, options, context);
}

ATTENTA_INLINE void qsa(const QsaInputs& x, const SparseOutputs& out, const QsaOptions& options, Context& context) {
    const auto call = detail::check_sparse("qsa", x, out, options, Positions::last, context);
    detail::CallLists lists(call);
    detail::select_qsa(x, *lists, options, context);
    call.attend(*lists, Causal{});
}

ATTENTA_END
