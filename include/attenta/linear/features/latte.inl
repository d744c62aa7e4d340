#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/features/latte.hpp>
#include <attenta/linear/features/latte_kernels.hpp>

#include <algorithm>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_latte(const LatteInputs& x, const LinearState& state, const LatteOptions& options) {
    const char* f = "latte";
    const auto text = [](auto n) { return std::to_string(n); };
    require_grouped_queries(f, x.q.heads, x.k.heads, x.v.heads);
    if (options.window < 0) fail(f, "window is " + text(options.window) + ", needs at least 0");
    if (options.window == 0) {
        if (x.window_q.data || x.window_k.data) fail(f, "window is 0, window_q and window_k need at least 1");
    } else {
        if (!options.causal) fail(f, "window is " + text(options.window) + ", without causal it needs to be 0");
        if (!x.window_q.data) fail(f, "window_q is null, a window needs a tensor");
        if (!x.window_k.data) fail(f, "window_k is null, a window needs a tensor");
        if (!state.empty()) fail(f, "state has earlier keys, with a window it needs to be empty");
    }
    if (state.empty()) return;
    for (const auto& [name, size] :
         {std::pair{"normalizer", state.normalizer.size()}, {"key_max", state.key_max.size()}})
        if (static_cast<std::int64_t>(size) != state.heads * state.dim)
            fail(f, std::string("state.") + name + " has " + text(size) + " elements, needs " +
                        text(state.heads * state.dim));
}

/// A checked call, in segments whose sums stay in cache.
class Latte {
public:
    Latte(scan::Request& r, Heads<float> o, LinearState& state, const LatteOptions& options, Context& context)
        : r_(r),
          o_(o),
          state_(state),
          options_(options),
          context_(context),
          history_(r.causal ? r.k.tokens - r.q.tokens : r.k.tokens),
          segment_(std::min(r.k.tokens, history_ + (r.causal ? longest_segment : 0))),
          size_(r.k.heads * segment_ * r.k.dim),
          numbers_(3 * size_) {}

    void run() {
        const Heads<const float> g = hnd(static_cast<const float*>(decays()), r_.k.heads, segment_, r_.k.dim);
        r_.g = g;
        shares_ = {options_.scale, options_.window > 0 ? 1 : 0, inverse(), segment_, 0, r_.causal ? 1 : 0};
        r_.q_map = {latent_shares(), &shares_};
        take_memory();
        for (std::int64_t key = 0; key < r_.k.tokens;) {
            const std::int64_t end = std::min(r_.k.tokens, key == 0 ? segment_ : key + longest_segment),
                               query = std::max<std::int64_t>(key - history_, 0);
            sum(key, end - key);
            scan::Request part = r_;
            part.q = r_.causal ? r_.q.slice(query, end - history_ - query) : r_.q;
            part.v = r_.v.slice(key, end - key);
            part.k = g.slice(0, end - key);
            part.k.data = weights();
            part.g = g.slice(0, end - key);
            shares_.first = r_.causal ? history_ + query - key : end - key - 1;
            scan::run(part, o_.slice(query, part.q.tokens), state_, context_);
            key = end;
        }
    }

private:
    static constexpr std::int64_t longest_segment = 256;

    float* decays() const { return numbers_.data(); }
    float* weights() const { return numbers_.data() + size_; }
    float* inverse() const { return numbers_.data() + 2 * size_; }

    /// All that the segments need, before the first of them changes the state.
    void take_memory() {
        scan::reserve(r_, context_);
        std::vector<float> largest, sums;
        const auto latents = static_cast<std::size_t>(r_.k.heads * r_.k.dim);
        const bool is_new = state_.empty();
        if (is_new) largest.resize(latents), sums.resize(latents);
        scan::begin_state(r_, state_);
        if (!is_new) return;
        state_.key_max.swap(largest);
        state_.normalizer.swap(sums);
    }

    void sum(std::int64_t key, std::int64_t count) const {
        const SumLatents function = sum_latents();
        context_.executor().parallel_for(r_.k.heads, [&](std::int64_t h, int) {
            const std::int64_t of_state = h * r_.k.dim, of_rows = h * segment_ * r_.k.dim;
            function({r_.k.slice(key, count), h, options_.scale, state_.key_max.data() + of_state,
                      state_.normalizer.data() + of_state, decays() + of_rows, weights() + of_rows,
                      inverse() + of_rows});
        });
    }

    scan::Request& r_;
    const Heads<float> o_;
    LinearState& state_;
    const LatteOptions& options_;
    Context& context_;
    const std::int64_t history_, segment_, size_;  ///< the first segment has the history and the first queries' keys
    const InlineArray<float, 4096> numbers_;
    LatentShares shares_{};
};

}  // namespace detail

ATTENTA_INLINE void latte(const LatteInputs& x, Heads<float> o, LinearState& state, const LatteOptions& options,
                          Context& context) {
    scan::Request r{.function = "latte", .q = x.q, .k = x.k, .v = x.v};
    r.q.dim -= options.window > 0 ? 1 : 0;
    r.causal = options.causal;
    r.lengths_differ = true;
    if (!is_finite(options.scale))
        fail("latte", "scale is " + std::to_string(options.scale) + ", needs a finite number");
    scan::check(r, InputList(x), o, state, options.check_data);
    detail::check_latte(x, state, options);

    std::vector<float> memory;
    if (options.window > 0) memory.resize(static_cast<std::size_t>(o.heads * o.tokens * o.dim));
    const Heads<float> near = hnd(memory.data(), o.heads, o.tokens, o.dim);
    if (options.window > 0)
        softmax_attention(x.window_q, KvView::of(x.window_k, x.v), near,
                          {.causal = true, .window_left = options.window - 1}, nullptr, context);
    detail::Latte(r, o, state, options, context).run();
    if (options.window == 0) return;
    const detail::AddFirstShare add = detail::add_first_share();
    context.executor().parallel_for(o.heads, [&](std::int64_t h, int) {
        for (std::int64_t t = 0; t < o.tokens; ++t)
            add(x.q.row(h, t), x.q.dim, options.scale, near.row(h, t), o.dim, o.row(h, t));
    });
}

ATTENTA_END
