#pragma once

#include <attenta/engine/common/call_arrays.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/dense/layers.hpp>
#include <attenta/engine/mask/mask.hpp>
#include <attenta/softmax/softmax.hpp>
#include <attenta/variants/structured/duplex.hpp>
#include <attenta/variants/structured/duplex_kernels.hpp>
#include <attenta/variants/structured/row_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Queries see the keys of the modalities that theirs may see.
struct ModalityMask {
    const std::int64_t *query, *key;  ///< modality of each
    const std::uint8_t* allowed;      ///< [M, M]
    std::int64_t modalities;

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const {
        const std::uint8_t* const seen = allowed + query[r.index] * modalities;
        for (std::int64_t i = 0; i < keys.count; ++i)
            if (!seen[key[keys.begin + i]]) words[i / 64] &= ~(std::uint64_t{1} << (i % 64));
    }
};

inline std::vector<std::uint8_t> allowed_modalities(const Matrices<const std::int64_t>& mask) {
    std::vector<std::uint8_t> allowed;
    for (std::int64_t a = 0; a < mask.rows; ++a)
        for (std::int64_t b = 0; b < mask.cols; ++b) allowed.push_back(mask.row(0, a)[b] != 0);
    return allowed;
}

/// Throws Error if a query sees no key.
inline void check_modality_mask(const DuplexInputs& x, bool causal, const CheckedCall& check) {
    const std::int64_t modalities = x.ratio.rows, keys = x.k.tokens, none = std::numeric_limits<std::int64_t>::max();
    if (x.q.tokens > keys)
        check.refuse("q has " + checks::text(x.q.tokens) + " tokens, modality_mask needs at most the " +
                     checks::text(keys) + " of k");
    std::vector<std::int64_t> first(static_cast<std::size_t>(modalities), none), seen = first;
    for (std::int64_t t = keys; t-- > 0;) first[static_cast<std::size_t>(x.modality.data()[t])] = t;
    for (std::int64_t a = 0; a < modalities; ++a)
        for (std::int64_t b = 0; b < modalities; ++b)
            if (x.modality_mask.row(0, a)[b] != 0) seen.data()[a] = std::min(seen.data()[a], first.data()[b]);
    for (std::int64_t i = 0; i < x.q.tokens; ++i) {
        const std::int64_t position = keys - x.q.tokens + i, own = x.modality.data()[position];
        if (seen.data()[own] == none || (causal && seen.data()[own] > position))
            check.refuse("modality_mask leaves query " + checks::text(i) + ", of modality " + checks::text(own) +
                         ", without keys, needs at least one");
    }
}

inline void check_duplex(const DuplexInputs& x, const DuplexOutputs& out, const DuplexOptions& options) {
    CheckedCall check("duplex", InputList(x));
    check.groups(x.q, x.k.heads);
    check.causal(options.causal, x.q.tokens, x.k.tokens);
    const std::int64_t modalities = x.ratio.rows;
    for (std::size_t t = 0; t < x.modality.size(); ++t)
        if (x.modality[t] < 0 || x.modality[t] >= modalities)
            check.refuse("modality is " + checks::text(x.modality[t]) + " at " + std::to_string(t) +
                         ", needs one of the " + checks::text(modalities) + " of ratio");
    for (const auto& pair : options.align)
        for (const std::int64_t side : pair)
            if (side < 0 || side >= modalities)
                check.refuse("align has modality " + checks::text(side) + ", needs one of the " +
                             checks::text(modalities) + " of ratio");
    if (options.gram == DuplexGram::value && x.v.dim != x.k.dim)
        check.refuse("v has " + checks::text(x.v.dim) + " features, gram value needs the " + checks::text(x.k.dim) +
                     " of k");
    check.finite("scale", options.scale);
    check.finite("decay", options.decay);
    if (options.decay && *options.decay < 0)
        check.refuse("decay is " + std::to_string(*options.decay) + ", needs at least 0");
    if (options.decay && !options.causal) check.refuse("decay is given without causal, needs it");
    if (options.length && *options.length < x.k.tokens)
        check.refuse("length is " + checks::text(*options.length) + ", needs at least the " + checks::text(x.k.tokens) +
                     " tokens of k");
    if (x.modality_mask.data) check_modality_mask(x, options.causal, check);
    check.numbers(options.check_data);
    check.scratch("the aligned keys", x.k.heads, x.k.tokens, x.k.dim);
    check.scratch("the Gram matrices", x.k.heads, x.k.dim, x.k.dim);
    check.output("o", out.o, x.q.heads, x.q.tokens, x.v.dim);
    check.output("lse", out.lse, x.q.heads, x.q.tokens, 1);
    if (out.k.data) check.output("k", out.k, x.q.heads, x.k.tokens, x.k.dim);
}

/// Keys after alignment. Tokens of a modality are brought together first, so that all products are of matrices without gaps.
class DuplexKeys {
public:
    DuplexKeys(const DuplexInputs& x, const DuplexOptions& options, CallArrays& arrays, Context& context)
        : x_(x), context_(context), first_(static_cast<std::size_t>(x.ratio.rows + 1)), order_(x.modality.size()) {
        const std::int64_t heads = x.k.heads, tokens = x.k.tokens, dim = x.k.dim;
        for (const std::int64_t m : x.modality) ++first_[static_cast<std::size_t>(m) + 1];
        for (std::size_t m = 1; m < first_.size(); ++m) first_[m] += first_[m - 1];
        std::vector<std::int64_t> next = first_;
        for (std::int64_t t = 0; t < tokens; ++t)
            order_[static_cast<std::size_t>(next[static_cast<std::size_t>(x.modality.data()[t])]++)] = t;

        keys_ = arrays.heads(heads, tokens, dim), units_ = arrays.heads(heads, tokens, dim);
        fused_ = arrays.heads(heads, tokens, dim), moved_ = arrays.heads(heads, tokens, dim);
        gram_ = arrays.heads(heads, dim, dim);
        for_rows(context, heads, tokens, 64, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                std::copy_n(x.k.row(h, i), dim, keys_.row(h, i));
                structured::unit_row()(x.k.row(h, token(i)), dim, {.shift = 1e-6f}, units_.row(h, i));
            }
        });
        values_ = units_;
        if (options.gram == DuplexGram::value) {
            values_ = arrays.heads(heads, tokens, dim);
            for_rows(context, heads, tokens, 64, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
                for (std::int64_t i = begin; i < end; ++i) std::copy_n(x.v.row(h, token(i)), dim, values_.row(h, i));
            });
        }
        for (const auto& [target, source] : options.align) align(target, source);
    }

    const Heads<float>& keys() const { return keys_; }

private:
    std::int64_t token(std::int64_t i) const { return order_.data()[i]; }
    std::int64_t first(std::int64_t modality) const { return first_.data()[modality]; }
    std::int64_t count(std::int64_t modality) const { return first(modality + 1) - first(modality); }
    Matrices<float> rows(const Heads<float>& x, std::int64_t modality) const {
        return {x.row(0, first(modality)), x.heads, count(modality), x.dim, x.token_stride, x.head_stride};
    }

    void align(std::int64_t target, std::int64_t source) const {
        if (count(target) == 0 || count(source) == 0) return;
        const std::int64_t dim = x_.k.dim;
        dense::multiply(dense::read(rows(units_, source)), dense::read(rows(values_, source)),
                        dense::matrices_of(gram_), {.a_transposed = true}, context_);
        for_rows(context_, gram_.heads, dim, 64, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
            for (std::int64_t r = begin; r < end; ++r)
                structured::unit_row()(gram_.row(h, r), dim, {}, gram_.row(h, r));
        });
        dense::multiply(dense::read(rows(units_, target)), dense::matrices_of<const float>(gram_), rows(fused_, target),
                        {}, context_);
        each_key(target, [&](std::int64_t h, std::int64_t i) {
            structured::fuse_key_row()(x_.k.row(h, token(i)), x_.ratio.row(0, target), dim, fused_.row(h, i));
        });
        const Matrices<const float> weight{x_.w_fuse.row(target, 0), 1, dim, dim, x_.w_fuse.token_stride, 0};
        dense::multiply(dense::read(rows(fused_, target)), weight, rows(moved_, target), {.b_transposed = true},
                        context_);
        each_key(target,
                 [&](std::int64_t h, std::int64_t i) { std::copy_n(moved_.row(h, i), dim, keys_.row(h, token(i))); });
    }

    template <class F>
    void each_key(std::int64_t modality, F&& f) const {
        for_rows(context_, keys_.heads, count(modality), 64, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) f(h, first(modality) + i);
        });
    }

    const DuplexInputs& x_;
    Context& context_;
    std::vector<std::int64_t> first_, order_;  ///< place of each modality; tokens by modality
    Heads<float> keys_, units_, values_, fused_, moved_, gram_;
};

/// ln Σ_{m < n} e^{−βm}
inline double log_pseudo_sum(double decay, std::int64_t n) {
    const double count = static_cast<double>(n);
    return std::log(decay == 0 ? count : std::expm1(-decay * count) / std::expm1(-decay));
}

/// Pseudo scores take their share of the rows of o.
inline void add_pseudo_scores(double decay, std::int64_t first_position, std::int64_t length, float* lse,
                              Heads<float> o, Context& context) {
    for_rows(context, o.heads, o.tokens, 64, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) {
            const std::int64_t n = length - 1 - (first_position + t);
            if (n < 1) continue;
            float& sum = lse[h * o.tokens + t];
            // 1 / (1 + e^x) of the rows, in two forms that do not overflow.
            const double more = log_pseudo_sum(decay, n) - double{sum}, e = std::exp(-std::abs(more)),
                         share = (more > 0 ? e : 1) / (1 + e);
            structured::scale_output_row()(o.row(h, t), o.dim, static_cast<float>(share));
            sum = static_cast<float>(double{sum} + std::max(more, 0.0) + std::log1p(e));
        }
    });
}

}  // namespace detail

ATTENTA_INLINE void duplex(const DuplexInputs& x, const DuplexOutputs& out, const DuplexOptions& options,
                           Context& context) {
    detail::check_duplex(x, out, options);
    detail::CallArrays arrays(context);
    const detail::DuplexKeys aligned(x, options, arrays, context);
    const Heads<float>& k = aligned.keys();
    if (out.k.data)
        detail::for_rows(context, x.q.heads, k.tokens, 64, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
            for (std::int64_t t = begin; t < end; ++t)
                std::copy_n(k.row(h / (x.q.heads / k.heads), t), k.dim, out.k.row(h, t));
        });
    SoftmaxOptions softmax;
    softmax.scale = options.scale;
    softmax.causal = options.causal;
    const std::int64_t first_position = x.k.tokens - x.q.tokens;
    const std::vector<std::uint8_t> allowed = detail::allowed_modalities(x.modality_mask);
    if (x.modality_mask.data)
        softmax.visible =
            detail::ModalityMask{x.modality.data() + first_position, x.modality.data(), allowed.data(), x.ratio.rows};
    float* const lse = out.lse ? out.lse : options.decay ? arrays.take(x.q.heads * x.q.tokens) : nullptr;
    softmax_attention<const float, const float>(x.q, k, x.v, out.o, softmax, lse, context);
    if (options.decay)
        detail::add_pseudo_scores(double{*options.decay}, first_position, options.length.value_or(x.k.tokens), lse,
                                  out.o, context);
}

ATTENTA_END
