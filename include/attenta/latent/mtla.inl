#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/own_keys.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/mask/masks.hpp>
#include <attenta/latent/mtla.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

ATTENTA_BEGIN

ATTENTA_INLINE MtlaCache::MtlaCache(std::int64_t latent, std::int64_t rope, std::int64_t stride)
    : latent_(latent), rope_(rope), stride_(stride) {
    const char* f = "MtlaCache";
    constexpr std::int64_t most = std::int64_t{1} << 24;
    for (const auto& [name, n] : {std::pair{"latent", latent}, {"rope", rope}, {"stride", stride}})
        if (n < 1 || n > most)
            fail(f, std::string(name) + " is " + std::to_string(n) + ", needs 1 to " + std::to_string(most));
    if (latent % 2 != 0) fail(f, "latent is " + std::to_string(latent) + ", needs an even number");
}

ATTENTA_INLINE KvView MtlaCache::finished() const {
    const std::int64_t width = latent_ + rope_, runs = stride_ > 0 ? tokens_ / stride_ : 0;
    KvView kv =
        KvView::of(hnd(rows_.data(), 1, runs, width), hnd(rows_.data(), 1, runs, latent_, {.token_stride = width}));
    kv.positions = ends_.data();
    kv.positions_stride = runs;
    return kv;
}

ATTENTA_INLINE void MtlaCache::reserve(std::int64_t tokens) {
    const std::int64_t runs = (tokens_ + tokens + stride_ - 1) / stride_;
    rows_.reserve(static_cast<std::size_t>(runs * (latent_ + rope_)));
    ends_.reserve(static_cast<std::size_t>(runs));
}

ATTENTA_INLINE void MtlaCache::add(const float* latent, float gate, const float* rotary_key) {
    const std::int64_t width = latent_ + rope_, run = tokens_ / stride_;
    if (tokens_ % stride_ == 0) {
        rows_.resize(static_cast<std::size_t>((run + 1) * width), 0.f);
        ends_.push_back(static_cast<std::int32_t>((run + 1) * stride_ - 1));
    }
    float* const row = rows_.data() + run * width;
    for (std::int64_t c = 0; c < latent_; ++c) row[c] += gate * latent[c];
    std::copy_n(rotary_key, rope_, row + latent_);
    ++tokens_;
}

namespace detail {

/// Scratch of a call: queries and results over latents, the queries' own runs, the gates' network.
struct MtlaMemory {
    std::vector<float> q, o, own, code, of_runs, of_tokens, gates;
    std::vector<std::uint8_t> unfinished;
    std::vector<RowStatistics> rows;
};

class MtlaCall {
public:
    MtlaCall(const MtlaInputs& x, const LatentOutputs& out, MtlaCache& cache, const MtlaOptions& options,
             Context& context)
        : x_(x),
          out_(out),
          cache_(cache),
          options_(options),
          context_(context),
          heads_(x.q_nope.heads),
          queries_(x.q_nope.tokens),
          latent_(x.c_kv.cols),
          rope_(x.k_pe.cols),
          width_(latent_ + rope_),
          tokens_(x.c_kv.rows),
          hidden_(x.w_p.rows),
          values_(x.w_uv.tokens) {
        check();
        if (cache.tokens() == 0) cache = MtlaCache(latent_, rope_, options.stride);
    }

    void run() {
        const CallMemory<MtlaMemory> kept(queries_, context_);
        MtlaMemory& m = *kept;
        const auto size = [](std::vector<float>& v, std::int64_t n) {
            v.resize(static_cast<std::size_t>(n));
            return v.data();
        };
        const Heads<float> q = hnd(size(m.q, heads_ * queries_ * width_), heads_, queries_, width_),
                           o = hnd(size(m.o, heads_ * queries_ * latent_), heads_, queries_, latent_),
                           own = hnd(size(m.own, queries_ * width_), 1, queries_, width_);
        m.rows.assign(static_cast<std::size_t>(heads_ * queries_), {});
        m.unfinished.assign(static_cast<std::size_t>(queries_), 0);
        cache_.reserve(tokens_);
        compute_gates(m);
        absorb(q);
        add_tokens(m, own);
        attend(q, o, m.rows.data());
        Heads<const float> own_values = own;
        own_values.dim = latent_;
        join_own_keys(q, own, own_values, m.unfinished, scale(), m.rows.data(), o, out_.lse, context_);
        dense::multiply(dense::matrices_of<const float>(o), dense::matrices_of(x_.w_uv), dense::matrices_of(out_.o),
                        {.b_transposed = true}, context_);
    }

private:
    void check() const {
        const char* f = "mtla";
        using checks::text;
        const InputList inputs(x_);
        check_given(f, inputs);
        check_shapes(f, inputs, {});
        for (const auto& [name, n] : {std::pair{"q_nope has no heads", heads_},
                                      {"q_nope has no tokens", queries_},
                                      {"q_nope has no features", x_.q_nope.dim},
                                      {"w_c has no rows", hidden_},
                                      {"w_uv has no rows", values_}})
            if (n < 1) fail(f, std::string(name) + ", needs at least one");
        if (queries_ > tokens_)
            fail(f, "q_nope has " + text(queries_) + " tokens, needs at most the " + text(tokens_) + " of c_kv");
        if (options_.scale && (!is_finite(*options_.scale) || *options_.scale <= 0))
            fail(f, "scale is " + std::to_string(*options_.scale) + ", needs a finite number above 0");
        if (cache_.tokens() == 0) {
            MtlaCache(latent_, rope_, options_.stride);
        } else if (cache_.latent() != latent_ || cache_.rope() != rope_ || cache_.stride() != options_.stride) {
            fail(f, "cache has " + checks::shape(cache_.latent(), cache_.rope(), cache_.stride()) +
                        " latents, rotary channels and stride, needs " +
                        checks::shape(latent_, rope_, options_.stride));
        }
        constexpr std::int64_t most = std::int64_t{1} << 31;
        if (tokens_ > most - cache_.tokens() - options_.stride)
            fail(f,
                 "c_kv has " + text(tokens_) + " tokens behind " + text(cache_.tokens()) + ", needs fewer than 2^31");
        if (checks::elements(heads_, queries_, width_) > checks::most_elements)
            fail(f, "q_nope is " + checks::shape(heads_, queries_, x_.q_nope.dim) + ", more than memory holds");
        const auto of = [](const Matrices<const float>& m) { return bytes_of(m, sizeof(float)); };
        const NamedBytes others[] = {{"q_nope", bytes_of(x_.q_nope)},
                                     {"q_pe", bytes_of(x_.q_pe)},
                                     {"c_kv", of(x_.c_kv)},
                                     {"k_pe", of(x_.k_pe)},
                                     {"w_uk", bytes_of(x_.w_uk)},
                                     {"w_uv", bytes_of(x_.w_uv)},
                                     {"w_c", of(x_.w_c)},
                                     {"b_c", bytes_of(x_.b_c)},
                                     {"w_p", of(x_.w_p)},
                                     {"b_p", bytes_of(x_.b_p)}};
        checks::check_results(f, heads_, queries_, values_, out_.o, out_.lse, others);
    }

    float scale() const { return options_.scale.value_or(1.f / std::sqrt(static_cast<float>(x_.q_nope.dim + rope_))); }

    /// sigmoid((W_c e(run) + b_c)·(W_p c_j + b_p)) of the new tokens.
    void compute_gates(MtlaMemory& m) const {
        const std::int64_t first = cache_.tokens() / options_.stride,
                           runs = (cache_.tokens() + tokens_ - 1) / options_.stride - first + 1;
        m.code.resize(static_cast<std::size_t>(runs * latent_));
        for (std::int64_t n = 0; n < runs; ++n)
            for (std::int64_t c = 0; c < latent_; c += 2) {
                const double angle = static_cast<double>(first + n) *
                                     std::pow(10000.0, -static_cast<double>(c) / static_cast<double>(latent_));
                m.code.data()[n * latent_ + c] = static_cast<float>(std::sin(angle));
                m.code.data()[n * latent_ + c + 1] = static_cast<float>(std::cos(angle));
            }
        project({m.code.data(), 1, runs, latent_}, x_.w_c, x_.b_c, m.of_runs);
        project(x_.c_kv, x_.w_p, x_.b_p, m.of_tokens);
        m.gates.resize(static_cast<std::size_t>(tokens_));
        for (std::int64_t t = 0; t < tokens_; ++t) {
            const float* const a = m.of_runs.data() + ((cache_.tokens() + t) / options_.stride - first) * hidden_;
            const float* const b = m.of_tokens.data() + t * hidden_;
            float sum = 0;
            for (std::int64_t c = 0; c < hidden_; ++c) sum += a[c] * b[c];
            m.gates.data()[t] = 1.f / (1.f + std::exp(-sum));
        }
    }
    /// rows · wᵀ + bias
    void project(const Matrices<const float>& rows, const Matrices<const float>& w, std::span<const float> bias,
                 std::vector<float>& to) const {
        to.resize(static_cast<std::size_t>(rows.rows * hidden_));
        for (std::int64_t r = 0; r < rows.rows; ++r) std::copy(bias.begin(), bias.end(), to.begin() + r * hidden_);
        dense::multiply({rows.data, 1, rows.rows, rows.cols, rows.row_stride, 0},
                        {w.data, 1, w.rows, w.cols, w.row_stride, 0}, {to.data(), 1, rows.rows, hidden_},
                        {.b_transposed = true, .add = true}, context_);
    }

    /// [W^UKᵀ q^n, q^r]
    void absorb(Heads<float> q) const {
        Matrices<float> front = dense::matrices_of(q);
        front.cols = latent_;
        dense::multiply(dense::matrices_of(x_.q_nope), dense::matrices_of(x_.w_uk), front, {}, context_);
        for (std::int64_t h = 0; h < heads_; ++h)
            for (std::int64_t t = 0; t < queries_; ++t) std::copy_n(x_.q_pe.row(h, t), rope_, q.row(h, t) + latent_);
    }

    /// The queries' own runs are taken as they stand when their token has joined.
    void add_tokens(MtlaMemory& m, Heads<float> own) {
        for (std::int64_t t = 0; t < tokens_; ++t) {
            cache_.add(x_.c_kv.data + t * x_.c_kv.row_stride, m.gates.data()[t], x_.k_pe.data + t * x_.k_pe.row_stride);
            const std::int64_t query = t - (tokens_ - queries_);
            if (query < 0) continue;
            std::copy_n(cache_.row(cache_.rows() - 1), width_, own.row(0, query));
            m.unfinished.data()[query] = cache_.tokens() % options_.stride != 0;
        }
    }

    void attend(Heads<const float> q, Heads<float> o, RowStatistics* rows) const {
        attention::Request r;
        r.function = "mtla";
        r.q = q;
        r.kv = cache_.finished();
        r.scale = scale();
        r.q_offset = cache_.tokens() - queries_;
        r.masks.push_back(Causal{});
        attention::plan(r, context_).run(q, r.kv, o, nullptr, {.found = rows});
    }

    const MtlaInputs& x_;
    const LatentOutputs& out_;
    MtlaCache& cache_;
    const MtlaOptions& options_;
    Context& context_;
    const std::int64_t heads_, queries_, latent_, rope_, width_, tokens_, hidden_, values_;
};

}  // namespace detail

ATTENTA_INLINE void mtla(const MtlaInputs& x, const LatentOutputs& out, MtlaCache& cache, const MtlaOptions& options,
                         Context& context) {
    detail::MtlaCall(x, out, cache, options, context).run();
}

ATTENTA_END
