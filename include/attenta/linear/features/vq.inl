#pragma once

#include <attenta/core/saturating.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/score/edits.hpp>
#include <attenta/linear/features/vq.hpp>
#include <attenta/softmax/weights.hpp>
#include <attenta/sparse/further_outputs.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Memory [heads, tokens, dim].
class Rows3 {
public:
    Rows3() = default;
    Rows3(std::int64_t heads, std::int64_t tokens, std::int64_t dim)
        : heads_(heads),
          tokens_(tokens),
          dim_(dim),
          memory_(static_cast<std::size_t>(saturating::multiply(heads, saturating::multiply(tokens, dim)))) {}
    Heads<float> view() { return hnd(memory_.data(), heads_, tokens_, dim_); }

private:
    std::int64_t heads_ = 0, tokens_ = 0, dim_ = 0;
    std::vector<float> memory_;
};

/// x + bias, or x where there is no bias.
inline Heads<const float> biased(Heads<const float> x, Heads<const float> bias, Rows3& memory) {
    if (!bias.data) return x;
    memory = Rows3(x.heads, x.tokens, x.dim);
    const Heads<float> y = memory.view();
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t)
            for (std::int64_t d = 0; d < x.dim; ++d) y.row(h, t)[d] = x.row(h, t)[d] + bias.row(h, 0)[d];
    return y;
}

/// The nearest codeword of each key, [heads, tokens]: the largest k·c − |c|²/2, in double where several are close.
class NearestCodewords {
public:
    NearestCodewords(Heads<const float> codebook, Context& context)
        : codebook_(codebook), context_(context), halves_(codebook.heads, 1, codebook.tokens), longest_(0) {
        for (std::int64_t h = 0; h < codebook.heads; ++h)
            for (std::int64_t s = 0; s < codebook.tokens; ++s) {
                double squares = 0;
                for (std::int64_t d = 0; d < codebook.dim; ++d)
                    squares += double{codebook.row(h, s)[d]} * double{codebook.row(h, s)[d]};
                halves_.view().row(h, 0)[s] = static_cast<float>(-squares / 2);
                longest_ = std::max(longest_, std::sqrt(squares));
            }
    }

    void find(Heads<const float> k, std::int64_t* codes) {
        constexpr std::int64_t block = 128;  // keys whose scores are in memory at once
        const std::int64_t codewords = codebook_.tokens;
        Rows3 memory(k.heads, std::min(block, k.tokens), codewords);
        const float* const halves = halves_.view().data;
        for (std::int64_t t = 0; t < k.tokens; t += block) {
            const std::int64_t count = std::min(block, k.tokens - t);
            float* const scores = memory.view().data;
            SoftmaxOptions options;
            options.scale = 1.f;
            options.bias = {halves, k.heads, 1, codewords};
            softmax_scores(k.slice(t, count), KvView::of(codebook_, codebook_), scores, ScoreStage::masked, options,
                           context_);
            for (std::int64_t h = 0; h < k.heads; ++h)
                for (std::int64_t i = 0; i < count; ++i)
                    codes[h * k.tokens + t + i] = best(h, k.row(h, t + i), scores + (h * count + i) * codewords);
        }
    }

private:
    std::int64_t best(std::int64_t h, const float* key, const float* scores) const {
        const float top = *std::max_element(scores, scores + codebook_.tokens);
        double length = 0;
        for (std::int64_t d = 0; d < codebook_.dim; ++d) length += double{key[d]} * double{key[d]};
        const double rounding = double{std::numeric_limits<float>::epsilon()} * static_cast<double>(codebook_.dim + 4),
                     least = double{top} - 2 * rounding * (std::sqrt(length) + longest_) * longest_;
        std::int64_t nearest = 0;
        double nearest_distance = std::numeric_limits<double>::infinity();
        for (std::int64_t s = 0; s < codebook_.tokens; ++s) {
            if (!(double{scores[s]} >= least)) continue;
            double distance = 0;
            for (std::int64_t d = 0; d < codebook_.dim; ++d) {
                const double gap = double{key[d]} - double{codebook_.row(h, s)[d]};
                distance += gap * gap;
            }
            if (distance < nearest_distance) nearest = s, nearest_distance = distance;
        }
        return nearest;
    }

    const Heads<const float> codebook_;
    Context& context_;
    Rows3 halves_;    ///< −|c|²/2
    double longest_;  ///< |c|
};

/// Number and mean value of the keys so far of each codeword.
class CodewordCache {
public:
    CodewordCache(Heads<const float> v, std::int64_t codewords, const std::int64_t* codes)
        : v_(v),
          codewords_(codewords),
          codes_(codes),
          counts_(static_cast<std::size_t>(v.heads * codewords)),
          sums_(counts_.size() * static_cast<std::size_t>(v.dim)) {}

    /// Takes up keys below `end`.
    void advance(std::int64_t end) {
        for (; taken_ < end; ++taken_)
            for (std::int64_t h = 0; h < v_.heads; ++h) {
                const std::int64_t code = h * codewords_ + codes_[h * v_.tokens + taken_];
                counts_[static_cast<std::size_t>(code)] += 1;
                double* const sum = sums_.data() + code * v_.dim;
                for (std::int64_t e = 0; e < v_.dim; ++e) sum[e] += double{v_.row(h, taken_)[e]};
            }
    }
    double count(std::int64_t head, std::int64_t code) const {
        return counts_[static_cast<std::size_t>(head * codewords_ + code)];
    }
    /// [heads, codewords, dim_v]
    void means(float* to) const {
        for (std::size_t code = 0; code < counts_.size(); ++code)
            for (std::size_t e = 0; e < static_cast<std::size_t>(v_.dim); ++e)
                *to++ = static_cast<float>(sums_[code * static_cast<std::size_t>(v_.dim) + e] /
                                           std::max(counts_[code], 1.));
    }

private:
    const Heads<const float> v_;
    const std::int64_t codewords_;
    const std::int64_t* const codes_;
    std::int64_t taken_ = 0;
    std::vector<double> counts_, sums_;
};

/// A checked call: blocks of queries read near keys as they are and the others through the cache.
class Vq {
public:
    Vq(const SparseCall& call, const VqInputs& x, Heads<float> keys, const std::int64_t* codes)
        : call_(call),
          x_(x),
          keys_(keys),
          reach_(x.rel.data ? x.rel.tokens - 1 : 0),
          q_(biased(x.q, x.bias_u, biased_u_)),
          q_rel_(biased(x.q, x.bias_v, biased_v_)),
          cache_(x.v, x.codebook.tokens, codes),
          means_(x.v.heads, x.codebook.tokens, x.v.dim),
          log_counts_(x.q.heads, 1, x.codebook.tokens) {
        for (std::int64_t j = std::max<std::int64_t>(call.first_position() - reach_, 0); j < keys.tokens; ++j)
            for (std::int64_t h = 0; h < keys.heads; ++h)
                std::copy_n(x.codebook.row(h, codes[h * keys.tokens + j]), keys.dim, keys.row(h, j));
    }

    void run() {
        constexpr std::int64_t block = 128;
        std::vector<float> lse(static_cast<std::size_t>(call_.q.heads * std::min(block, call_.q.tokens)));
        for (std::int64_t i = 0; i < call_.q.tokens; i += block) {
            const std::int64_t count = std::min(block, call_.q.tokens - i);
            run_block(i, count, lse.data());
            for (std::int64_t h = 0; h < call_.q.heads && call_.out.lse; ++h)
                std::copy_n(lse.data() + h * count, count, call_.out.lse + h * call_.q.tokens + i);
        }
    }

private:
    void run_block(std::int64_t i, std::int64_t count, float* lse) {
        const std::int64_t position = call_.first_position() + i, near = std::max<std::int64_t>(position - reach_, 0),
                           keys = position + count - near;
        SparseCall part = call_;
        part.q = q_.slice(i, count);
        part.kv = KvView::of(Heads<const float>(keys_).slice(near, keys), x_.v.slice(near, keys));
        part.out = {call_.out.o.slice(i, count), lse};
        SparseParts parts(part, near > 0 ? 2 : 1);
        Rows3 bias;
        attention::Request near_keys = parts.request();
        near_keys.masks = {Causal{}};
        if (x_.rel.data) {
            bias = relative_bias(i, count, keys);
            const float* const memory = bias.view().data;
            near_keys.edits = {edit(edits::Bias{{memory, call_.q.heads, count, keys}})};
        }
        parts.add(near_keys);
        if (near > 0) {
            read_cache(near);
            const float* const logs = log_counts_.view().data;
            attention::Request far_keys = parts.request();
            far_keys.kv = KvView::of(x_.codebook, Heads<const float>(means_.view()));
            far_keys.edits = {edit(edits::Bias{{logs, call_.q.heads, 1, x_.codebook.tokens}})};
            parts.add(far_keys);
        }
        parts.merge();
    }

    /// Of the keys before `end`.
    void read_cache(std::int64_t end) {
        cache_.advance(end);
        cache_.means(means_.view().data);
        const Heads<float> logs = log_counts_.view();
        for (std::int64_t h = 0; h < logs.heads; ++h)
            for (std::int64_t s = 0; s < logs.dim; ++s) {
                const double n = cache_.count(h / call_.group(), s);
                logs.row(h, 0)[s] = n > 0 ? static_cast<float>(std::log(n)) : -std::numeric_limits<float>::infinity();
            }
    }

    /// [Hq, count, keys]: products with the rows of rel are scores of keys; row d goes to the key at distance d.
    Rows3 relative_bias(std::int64_t i, std::int64_t count, std::int64_t keys) const {
        const std::int64_t heads = call_.q.heads, rows = x_.rel.tokens;
        Rows3 products(heads, count, rows), bias(heads, count, keys);
        softmax_scores(q_rel_.slice(i, count), KvView::of(x_.rel, x_.rel), products.view().data, ScoreStage::scaled,
                       {.scale = call_.scale}, *call_.context);
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t t = 0; t < count; ++t) {
                const std::int64_t own = keys - count + t;  // the query's key
                for (std::int64_t d = 0; d < rows && d <= own; ++d)
                    bias.view().row(h, t)[own - d] = products.view().row(h, t)[d];
            }
        return bias;
    }

    const SparseCall& call_;
    const VqInputs& x_;
    const Heads<float> keys_;
    const std::int64_t reach_;
    Rows3 biased_u_, biased_v_;
    const Heads<const float> q_, q_rel_;
    CodewordCache cache_;
    Rows3 means_, log_counts_;
};

inline void check_vq(const VqInputs& x, const VqOptions& options) {
    const char* f = "vq";
    require_at_least(f, "block_size", options.block_size, 1);
    require_at_least(f, "mem_len", options.mem_len, 0);
    if (!x.k.data && !x.shortcodes.data) fail(f, "k and shortcodes are null, needs one of them");
    if (x.k.data && x.shortcodes.data) fail(f, "k and shortcodes are both given, needs one of them");
    if (x.bias_v.data && !x.rel.data) fail(f, "rel is null, bias_v needs it");
    if (x.rel.data && x.rel.tokens - 1 > options.mem_len)
        fail(f, "rel has " + checks::text(x.rel.tokens) +
                    " rows, needs at most mem_len + 1 = " + checks::text(options.mem_len + 1));
    for (const auto& [name, rows] : {std::pair{"codebook", x.codebook.tokens}, {"rel", x.rel.data ? x.rel.tokens : 1}})
        if (rows < 1) fail(f, std::string(name) + " has no rows, needs at least 1");
    for (std::int64_t h = 0; h < x.shortcodes.heads; ++h)
        for (std::int64_t t = 0; t < x.shortcodes.tokens; ++t)
            if (const std::int64_t code = x.shortcodes.row(h, t)[0]; code < 0 || code >= x.codebook.tokens)
                fail(f, "shortcodes is " + checks::text(code) + " at [" + checks::text(h) + ", " + checks::text(t) +
                            "], needs 0 to " + checks::text(x.codebook.tokens - 1));
}

}  // namespace detail

ATTENTA_INLINE void vq(const VqInputs& x, const VqOutputs& out, const VqOptions& options, Context& context) {
    const std::int64_t heads = x.v.heads, tokens = x.v.tokens, codewords = x.codebook.tokens;
    const InputList inputs(x);
    check_given("vq", inputs);
    check_shapes("vq", inputs, {});
    detail::Rows3 memory(std::max<std::int64_t>(heads, 0), std::max<std::int64_t>(tokens, 0),
                         std::max<std::int64_t>(x.q.dim, 0));
    const auto call =
        detail::check_sparse("vq", inputs, x.q, KvView::of(Heads<const float>(memory.view()), x.v), {out.o, out.lse},
                             options.scale, Positions::last, options.check_data, context);
    detail::check_vq(x, options);
    detail::FurtherOutputs further(call, inputs);
    further.add("shortcodes", hnd(out.shortcodes, heads, tokens, 1));
    further.add("cache_count", hnd(out.cache_count, heads, codewords, 1));
    further.add("cache_value", hnd(out.cache_value, heads, codewords, x.v.dim));

    std::vector<std::int64_t> codes(static_cast<std::size_t>(heads * tokens));
    if (x.k.data)
        detail::NearestCodewords(x.codebook, context).find(x.k, codes.data());
    else
        for (std::int64_t n = 0; n < heads * tokens; ++n)
            codes[static_cast<std::size_t>(n)] = x.shortcodes.row(n / tokens, n % tokens)[0];
    detail::Vq(call, x, memory.view(), codes.data()).run();
    if (out.shortcodes) std::copy(codes.begin(), codes.end(), out.shortcodes);
    if (!out.cache_count && !out.cache_value) return;
    detail::CodewordCache cache(x.v, codewords, codes.data());
    cache.advance(std::max<std::int64_t>(tokens - options.mem_len, 0));
    if (out.cache_value) cache.means(out.cache_value);
    for (std::int64_t n = 0; n < heads * codewords && out.cache_count; ++n)
        out.cache_count[n] = static_cast<float>(cache.count(n / codewords, n % codewords));
}

ATTENTA_END
