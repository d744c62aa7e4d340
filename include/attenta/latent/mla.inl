#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/mask/masks.hpp>
#include <attenta/latent/grouped_latent.hpp>
#include <attenta/latent/mla.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Scratch of a call, kept by its context where queries are few.
struct LatentMemory {
    std::vector<float> q, o, k, v, latents, lse;
};

/// A checked call of mla or grouped_latent.
class LatentCall {
public:
    LatentCall(const char* function, const MlaInputs& x, const LatentOutputs& out, const MlaOptions& options,
               Context& context)
        : f_(function),
          x_(x),
          out_(out),
          options_(options),
          context_(context),
          heads_(x.q_nope.heads),
          queries_(x.q_nope.tokens),
          nope_(x.q_nope.dim),
          rope_(x.q_pe.dim),
          latent_(x.kv.v.dim),
          values_(x.w_uv.tokens) {
        check();
        scale_ = options.scale.value_or(1.f / std::sqrt(static_cast<float>(nope_ + rope_)));
    }

    void run() {
        const LatentForm form = options_.form == LatentForm::automatic ? cheaper() : options_.form;
        if (queries_ == 0) return;
        if (form == LatentForm::expanded)
            run_expanded();
        else
            run_absorbed();
    }

private:
    static constexpr std::int64_t absorbed_bytes = std::int64_t{8} << 20, expanded_bytes = std::int64_t{32} << 20;

    void check() const {
        check_given(f_, InputList(x_));
        check_shapes(f_, InputList(x_), {});
        using checks::text;
        for (const auto& [name, n] : {std::pair{"q_nope has no features", nope_},
                                      {"q_pe has no features", rope_},
                                      {"c_kv has no features", latent_},
                                      {"w_uv has no rows", values_}})
            if (n < 1) fail(f_, std::string(name) + ", needs at least one");
        if (x_.kv.tied != latent_)
            fail(f_, "kv.tied is " + text(x_.kv.tied) + ", needs the " + text(latent_) +
                         " features of c_kv: latent_cache makes such a view");
        if (options_.scale && (!is_finite(*options_.scale) || *options_.scale <= 0))
            fail(f_, "scale is " + std::to_string(*options_.scale) + ", needs a finite number above 0");
        if (options_.window_left < -1)
            fail(f_, "window_left is " + text(options_.window_left) + ", needs -1 (all) or more");
        const auto sinks = static_cast<std::int64_t>(options_.sink.size());
        if (sinks != 0 && sinks != heads_) fail(f_, "sink has " + text(sinks) + " elements, needs " + text(heads_));
        if (options_.causal && x_.q_lengths.empty() && x_.kv.sequences == 1 && queries_ > x_.kv.length(0))
            fail(f_, "q_nope has " + text(queries_) + " tokens, needs at most the " + text(x_.kv.length(0)) +
                         " of the cache");
        if (options_.form == LatentForm::expanded && !can_expand())
            fail(f_, "form is expanded, needs one sequence whose heads hold the same tokens, not a batch");
        // The engine's own checks, of the queries that it will get.
        Heads<const float> q = hnd(x_.q_nope.data, heads_, queries_, latent_ + rope_);
        attention::Request r = request(q, x_.kv);
        attention::check(r);
        const NamedBytes inputs[] = {{"q_nope", bytes_of(x_.q_nope)},    {"q_pe", bytes_of(x_.q_pe)},
                                     {"k_pe", bytes_of(x_.kv, x_.kv.k)}, {"c_kv", bytes_of(x_.kv, x_.kv.v)},
                                     {"w_uk", bytes_of(x_.w_uk)},        {"w_uv", bytes_of(x_.w_uv)},
                                     {"sink", bytes_of(options_.sink)}};
        checks::check_results(f_, heads_, queries_, values_, out_.o, out_.lse, inputs);
    }

    bool can_expand() const { return x_.q_lengths.empty() && x_.kv.sequences == 1 && !x_.kv.differs_by_head(); }

    /// By operations per head; memory is read once in both forms.
    LatentForm cheaper() const {
        if (!can_expand()) return LatentForm::absorbed;
        const auto keys = static_cast<double>(x_.kv.length(0)), queries = static_cast<double>(queries_);
        const double pairs = queries * (options_.causal ? keys - (queries - 1) / 2 : keys);
        const double projection = static_cast<double>(latent_ * (nope_ + values_));
        const double expanded = pairs * static_cast<double>(nope_ + rope_ + values_) + keys * projection,
                     absorbed = pairs * static_cast<double>(2 * latent_ + rope_) + queries * projection;
        return expanded < absorbed ? LatentForm::expanded : LatentForm::absorbed;
    }

    attention::Request request(Heads<const float> q, const KvView& kv) const {
        attention::Request r;
        r.function = f_;
        r.q = q;
        r.q_lengths = x_.q_lengths;
        r.kv = kv;
        r.scale = scale_;
        r.sink = options_.sink;
        if (options_.causal) r.masks.push_back(Causal{});
        if (options_.window_left >= 0) r.masks.push_back(Window{options_.window_left, -1});
        return r;
    }
    void attend(const attention::Request& r, Heads<float> o, float* lse) const {
        attention::plan(r, context_).run(r.q, r.kv, o, lse);
    }

    static float* grown(std::vector<float>& memory, std::int64_t n) {
        if (static_cast<std::int64_t>(memory.size()) < n) memory.resize(static_cast<std::size_t>(n));
        return memory.data();
    }
    static void copy_rows(Heads<const float> from, std::int64_t head, Heads<float> to, std::int64_t to_head,
                          std::int64_t column) {
        for (std::int64_t t = 0; t < to.tokens; ++t)
            std::copy_n(from.row(head, t), from.dim, to.row(to_head, t) + column);
    }

    /// Latents and rotary keys that follow each other in memory are ordinary keys.
    static KvView joined(KvView kv) {
        const KvView::Rows &k = kv.k, &v = kv.v;
        const bool beside = k.dtype == v.dtype && k.dtype != Dtype::codes && k.token_stride == v.token_stride &&
                            k.page_stride == v.page_stride && (k.head_stride == v.head_stride || kv.heads == 1) &&
                            k.data == static_cast<const std::byte*>(v.data) + v.row_bytes();
        if (!beside) return kv;
        kv.k.data = v.data;
        kv.k.dim = kv.key_dim();
        kv.tied = 0;
        return kv;
    }

    /// A range of queries at a time, so that their latents stay in cache.
    void run_absorbed() {
        const CallMemory<LatentMemory> memory(queries_, context_);
        const std::int64_t width = latent_ + rope_, per_query = heads_ * (width + latent_),
                           most = absorbed_bytes / (per_query * static_cast<std::int64_t>(sizeof(float)));
        const std::int64_t range = x_.q_lengths.empty() ? std::clamp<std::int64_t>(most, 1, queries_) : queries_;
        const Heads<float> q = hnd(grown(memory->q, heads_ * range * width), heads_, range, width),
                           o = hnd(grown(memory->o, heads_ * range * latent_), heads_, range, latent_);
        float* const lse = out_.lse && range < queries_ ? grown(memory->lse, heads_ * range) : out_.lse;
        const KvView kv = joined(x_.kv);
        for (std::int64_t begin = 0; begin < queries_; begin += range) {
            const std::int64_t n = std::min(range, queries_ - begin);
            const Heads<float> q_n = q.slice(0, n), o_n = o.slice(0, n);
            absorb(begin, q_n);
            attention::Request r = request(q_n, kv);
            if (range < queries_) r.q_offset = x_.kv.length(0) - queries_ + begin;
            // A range's lse has rows of its own length.
            attend(r, o_n, lse);
            if (lse != out_.lse)
                for (std::int64_t h = 0; h < heads_; ++h) std::copy_n(lse + h * n, n, out_.lse + h * queries_ + begin);
            dense::multiply(dense::matrices_of<const float>(o_n), dense::matrices_of(x_.w_uv),
                            dense::matrices_of(out_.o.slice(begin, n)), {.b_transposed = true}, context_);
        }
    }
    /// [W^UKᵀ q^n, q^r] of queries from `begin` on.
    void absorb(std::int64_t begin, Heads<float> q) const {
        Matrices<float> front = dense::matrices_of(q);
        front.cols = latent_;
        const Heads<const float> nope = x_.q_nope.slice(begin, q.tokens), rope = x_.q_pe.slice(begin, q.tokens);
        dense::multiply(dense::matrices_of(nope), dense::matrices_of(x_.w_uk), front, {}, context_);
        for (std::int64_t h = 0; h < heads_; ++h) copy_rows(rope, h, q, h, latent_);
    }

    /// Some heads of a group at a time, so that their keys and values do not take much more memory than the cache.
    void run_expanded() {
        const CallMemory<LatentMemory> memory(queries_, context_);
        const std::int64_t keys = x_.kv.length(0), width = nope_ + rope_, group = heads_ / x_.kv.heads,
                           per_head =
                               (keys * (width + values_) + queries_ * width) * static_cast<std::int64_t>(sizeof(float)),
                           together =
                               std::clamp<std::int64_t>(expanded_bytes / std::max<std::int64_t>(per_head, 1), 1, group);
        const Heads<float> rows = hnd(grown(memory->latents, keys * (latent_ + rope_)), 1, keys, latent_ + rope_);
        grown(memory->q, together * queries_ * width);
        grown(memory->k, together * keys * width);
        grown(memory->v, together * keys * values_);
        for (std::int64_t g = 0; g < x_.kv.heads; ++g) {
            read_rows(g, rows);
            for (std::int64_t h = g * group; h < (g + 1) * group; h += together)
                expand(h, std::min(together, (g + 1) * group - h), rows, *memory);
        }
    }
    /// [latent, rotary key] of all tokens of a group, as floats.
    void read_rows(std::int64_t g, Heads<float> to) const {
        const KvView& kv = x_.kv;
        for (std::int64_t t = 0; t < to.tokens; ++t) {
            const std::byte *k, *v;
            kv.locate(0, t, 1, &k, &v);
            load_row(v + kv.v.head_bytes(g), latent_, kv.v.dtype, kv.v.codes, to.row(0, t));
            load_row(k + kv.k.head_bytes(g), rope_, kv.k.dtype, kv.k.codes, to.row(0, t) + latent_);
        }
    }
    void expand(std::int64_t head, std::int64_t heads, Heads<float> rows, LatentMemory& memory) const {
        const std::int64_t keys = rows.tokens, width = nope_ + rope_;
        const Heads<float> q = hnd(memory.q.data(), heads, queries_, width),
                           k = hnd(memory.k.data(), heads, keys, width), v = hnd(memory.v.data(), heads, keys, values_);
        Matrices<const float> latents = dense::matrices_of<const float>(rows);
        latents.cols = latent_;
        const auto weights = [&](const Heads<const float>& w) {
            Matrices<const float> m = dense::matrices_of(w);
            m.data = w.row(head, 0);
            m.heads = heads;
            return m;
        };
        Matrices<float> front = dense::matrices_of(k);
        front.cols = nope_;
        dense::multiply(latents, weights(x_.w_uk), front, {.b_transposed = true}, context_);
        dense::multiply(latents, weights(x_.w_uv), dense::matrices_of(v), {.b_transposed = true}, context_);
        Heads<const float> rotary = rows;
        rotary.data += latent_;
        rotary.dim = rope_;
        for (std::int64_t h = 0; h < heads; ++h) {
            copy_rows(rotary, 0, k, h, nope_);
            copy_rows(x_.q_nope, head + h, q, h, 0);
            copy_rows(x_.q_pe, head + h, q, h, nope_);
        }
        KvView kv = KvView::of(k, v);
        kv.positions = x_.kv.positions;
        kv.positions_stride = x_.kv.positions_stride;
        attention::Request r = request(q, kv);
        if (!options_.sink.empty())
            r.sink = options_.sink.subspan(static_cast<std::size_t>(head), static_cast<std::size_t>(heads));
        Heads<float> o = out_.o;
        o.data = o.row(head, 0);
        o.heads = heads;
        attend(r, o, out_.lse ? out_.lse + head * queries_ : nullptr);
    }

    const char* f_;
    const MlaInputs& x_;
    const LatentOutputs& out_;
    const MlaOptions& options_;
    Context& context_;
    const std::int64_t heads_, queries_, nope_, rope_, latent_, values_;
    float scale_ = 1;
};

}  // namespace detail

ATTENTA_INLINE void mla(const MlaInputs& x, const LatentOutputs& out, const MlaOptions& options, Context& context) {
    if (x.kv.heads != 1)
        fail("mla", "kv has " + std::to_string(x.kv.heads) + " heads, needs one: grouped_latent takes more");
    detail::LatentCall("mla", x, out, options, context).run();
}

ATTENTA_INLINE void grouped_latent(const MlaInputs& x, const LatentOutputs& out, const MlaOptions& options,
                                   Context& context) {
    detail::LatentCall("grouped_latent", x, out, options, context).run();
}

ATTENTA_END
