#pragma once

#include <attenta/core/checked_int.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/dense/layers_kernels.hpp>
#include <attenta/kv/eviction/evictor.hpp>
#include <attenta/kv/eviction/kernels.hpp>
#include <attenta/softmax/weights.hpp>

#include <algorithm>
#include <cmath>
#include <string>

ATTENTA_BEGIN

ATTENTA_INLINE void HeldTokens::load_key(std::int64_t slot, float* to) const { cache->load_key(layer, head, slot, to); }
ATTENTA_INLINE void HeldTokens::load_value(std::int64_t slot, float* to) const {
    cache->load_value(layer, head, slot, to);
}

/// Weights of queries that are at hand, chunk by chunk.
class Evictor::Attention final : public HeldAttention {
public:
    /// `q`: the queries from position `first` on.
    Attention(const Evictor& of, Heads<const float> q, std::int64_t first, bool prompt, Context& context)
        : of_(of), q_(of.cache_.turn_queries(q, turned_)), first_(first), prompt_(prompt), context_(context) {}

    void rows(std::int64_t first, std::int64_t count, const Row& f) override {
        const std::int64_t begin = first - first_;
        if (count == 0) return;
        if (begin < 0 || count < 0 || begin + count > q_.tokens)
            fail("HeldAttention::rows", "queries " + std::to_string(first) + " to " +
                                            std::to_string(first + count - 1) + " are asked for, needs " +
                                            std::to_string(first_) + " to " + std::to_string(first_ + q_.tokens - 1));
        const KvView kv = of_.cache_.view(of_.options_.layer);
        const std::int64_t keys = kv.length(0), per_query = q_.heads * std::max<std::int64_t>(keys, 1);
        const std::int64_t step = std::clamp<std::int64_t>(chunk / per_query, 1, count);
        weights_.resize(static_cast<std::size_t>(step * per_query));
        for (std::int64_t i = 0; i < count; i += step) {
            const std::int64_t n = std::min(step, count - i);
            softmax_scores(q_.slice(begin + i, n), kv, weights_.data(), ScoreStage::masked, options_for(first + i),
                           context_);
            for (std::int64_t h = 0; h < q_.heads; ++h)
                for (std::int64_t t = 0; t < n; ++t) {
                    float* const row = weights_.data() + (h * n + t) * keys;
                    const std::int64_t held = kv.length(0, h / group());
                    dense::softmax_row()(row, held, 1.f, nullptr);
                    f(h, first + i + t, {row, static_cast<std::size_t>(held)});
                }
        }
    }

    void sums(float* sums, std::int64_t stride) override {
        if (!prompt_) fail("HeldAttention::sums", "the prompt is over, needs a moment after the prompt");
        const KvView kv = of_.cache_.view(of_.options_.layer);
        const SoftmaxOptions options = options_for(first_);
        statistics_.resize(static_cast<std::size_t>(q_.heads * q_.tokens));
        softmax_statistics(q_, kv, statistics_.data(), options, context_);
        for (std::int64_t h = 0; h < q_.heads; ++h) std::fill_n(sums + h * stride, kv.length(0), 0.f);
        softmax_weights(q_, kv, statistics_.data(), {edit(edits::ColumnSums{sums, stride})}, {}, options, context_);
    }

    void products(Heads<const float> x, const Row& f) override {
        const KvView kv = of_.cache_.view_of_past(of_.options_.layer);
        const std::int64_t keys = kv.length(0), per_row = x.heads * std::max<std::int64_t>(keys, 1);
        const std::int64_t step = std::clamp<std::int64_t>(chunk / per_row, 1, std::max<std::int64_t>(x.tokens, 1));
        weights_.resize(static_cast<std::size_t>(step * per_row));
        std::vector<float> turned;
        SoftmaxOptions options;
        options.scale = 1.f;
        for (std::int64_t i = 0; i < x.tokens; i += step) {
            const std::int64_t n = std::min(step, x.tokens - i);
            const Heads<const float> rows = of_.cache_.turn_queries(x.slice(i, n), turned);
            softmax_scores(rows, kv, weights_.data(), ScoreStage::scaled, options, context_);
            for (std::int64_t h = 0; h < x.heads; ++h)
                for (std::int64_t t = 0; t < n; ++t)
                    f(h, i + t,
                      {weights_.data() + (h * n + t) * keys,
                       static_cast<std::size_t>(kv.length(0, h * kv.heads / x.heads))});
        }
    }

private:
    static constexpr std::int64_t chunk = std::int64_t{1} << 20;  ///< weights at a time

    std::int64_t group() const { return of_.shape_.group(); }
    SoftmaxOptions options_for(std::int64_t first) const {
        SoftmaxOptions o;
        o.scale = of_.options_.scale;
        o.causal = true;
        o.q_offset = first;
        return o;
    }

    const Evictor& of_;
    std::vector<float> turned_;
    Heads<const float> q_;
    std::int64_t first_;
    bool prompt_;
    Context& context_;
    std::vector<float>& weights_ = of_.scratch_;
    std::vector<RowStatistics> statistics_;
};

ATTENTA_INLINE Evictor::Evictor(KvCache& cache, EvictionPolicy& policy, const EvictorOptions& options)
    : cache_(cache), policy_(policy), options_(options) {
    const char* const f = "Evictor";
    const CacheOptions& c = cache.options();
    if (options.query_heads < 1 || options.query_heads % c.kv_heads != 0)
        fail(f, "query_heads is " + std::to_string(options.query_heads) + ", needs a multiple of the " +
                    std::to_string(c.kv_heads) + " heads of the cache");
    if (options.scale && !is_finite(*options.scale))
        fail(f, "scale is " + std::to_string(*options.scale) + ", needs a finite number");
    if (cache.seen(options.layer) != 0)
        fail(f, "layer " + std::to_string(options.layer) + " holds tokens already, needs an empty one");
    if (c.storage.sink > 0 || c.storage.recent > 0)
        fail(f, "the cache keeps floats beside codes, needs a storage without sink and recent");
    shape_ = {options.query_heads, c.kv_heads, c.dim, c.dim_v};
    needs_ = policy.needs(shape_);
    cache.track_positions(options.layer);
    heads_.resize(static_cast<std::size_t>(c.kv_heads));
    choices_.resize(static_cast<std::size_t>(c.kv_heads));
    const auto check_memory = [&](const char* what, std::int64_t n, const CheckedInt& numbers) {
        constexpr std::int64_t most = std::int64_t{1} << 40;
        if (!numbers.valid() || numbers.value() > most)
            fail(f, std::string(what) + " is " + std::to_string(n) + ", needs what memory can hold");
    };
    check_memory("columns of the policy", needs_.columns, CheckedInt(c.kv_heads) * needs_.columns * c.capacity);
    check_memory("byte columns of the policy", needs_.byte_columns,
                 CheckedInt(c.kv_heads) * needs_.byte_columns * c.capacity);
    check_memory("window of the policy", needs_.window, CheckedInt(needs_.window) * options.query_heads * c.dim);
    check_memory("query_heads", options.query_heads, CheckedInt(options.query_heads) * c.capacity);
    columns_.resize(static_cast<std::size_t>(c.kv_heads * needs_.columns * c.capacity));
    byte_columns_.resize(static_cast<std::size_t>(c.kv_heads * needs_.byte_columns * c.capacity));
    window_.resize(static_cast<std::size_t>(needs_.window * options.query_heads * c.dim));
    if (needs_.weights) {
        weights_.resize(static_cast<std::size_t>(options.query_heads * c.capacity));
        lse_.resize(static_cast<std::size_t>(options.query_heads));
    }
    for (std::int64_t g = 0; g < c.kv_heads; ++g) {
        HeldTokens& held = heads_[static_cast<std::size_t>(g)];
        held.head = g;
        held.columns = columns_.data() + g * needs_.columns * c.capacity;
        held.byte_columns = byte_columns_.data() + g * needs_.byte_columns * c.capacity;
        held.column_stride = c.capacity;
        held.cache = &cache;
        held.layer = options.layer;
    }
}

ATTENTA_INLINE Evictor::~Evictor() = default;

/// What heads hold now.
ATTENTA_INLINE void Evictor::look() {
    for (HeldTokens& held : heads_) {
        held.positions = cache_.positions(options_.layer, held.head);
        held.slots = cache_.slots(options_.layer, held.head);
    }
}

/// All that a call needs, before anything is written.
ATTENTA_INLINE void Evictor::check(const char* f, Heads<const float> q, Heads<const float> k, Heads<const float> v,
                                   Heads<float> o) const {
    if (q.heads != shape_.query_heads || q.dim != shape_.dim || q.tokens != k.tokens || q.tokens < 1)
        fail(f, "q is " + checks::shape(q.heads, q.tokens, q.dim) + ", needs " +
                    checks::shape(shape_.query_heads, k.tokens, shape_.dim) + " and at least one token");
    checks::check_pointer(f, "q", q.data, sizeof(float), true);
    if (cache_.seen(options_.layer) != seen_)
        fail(f, "layer " + std::to_string(options_.layer) + " has seen " + std::to_string(cache_.seen(options_.layer)) +
                    " tokens, needs the " + std::to_string(seen_) + " that came through the evictor");
    cache_.check_append(options_.layer, k, v);
    policy_.expect(cache_.seen(options_.layer) + k.tokens);
    if (!o.data) return;
    checks::check_output(f, shape_.query_heads, q.tokens, shape_.dim_v, o);
    const NamedBytes inputs[] = {{"q", bytes_of(q)}, {"k", bytes_of(k)}, {"v", bytes_of(v)}};
    checks::check_apart(f, "o", bytes_of(o), inputs);
}

ATTENTA_INLINE void Evictor::append(Heads<const float> k, Heads<const float> v) {
    cache_.append(options_.layer, k, v);
    seen_ += k.tokens;
    look();
    for (const HeldTokens& held : heads_) {
        const std::int64_t first = held.size() - k.tokens;
        for (std::int64_t c = 0; c < needs_.columns; ++c) std::fill_n(held.column(c) + first, k.tokens, 0.f);
        for (std::int64_t c = 0; c < needs_.byte_columns; ++c)
            std::fill_n(held.byte_column(c) + first, k.tokens, std::uint8_t{0});
        for (std::int64_t t = 0; needs_.rows && t < k.tokens; ++t)
            policy_.arrive(held, first + t, k.row(held.head, t), v.row(held.head, t));
    }
}

ATTENTA_INLINE void Evictor::prompt(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<float> o,
                                    Context& context) {
    const char* const f = "Evictor::prompt";
    if (cache_.seen(options_.layer) != 0)
        fail(f, "layer " + std::to_string(options_.layer) + " holds tokens already, needs a prompt before any step");
    check(f, q, k, v, o);
    if (o.data) {
        SoftmaxOptions options;
        options.scale = options_.scale;
        options.causal = true;
        softmax_attention(q, k, v, o, options, nullptr, context);
    }
    append(k, v);
    Attention attention(*this, q, 0, true, context);
    EvictionMoment now;
    now.prompt = true;
    now.attention = &attention;
    for (std::int64_t i = std::max<std::int64_t>(0, q.tokens - needs_.window); i < q.tokens; ++i)
        for (std::int64_t h = 0; h < q.heads; ++h)
            std::copy_n(q.row(h, i), q.dim, window_.data() + (h * needs_.window + i % needs_.window) * q.dim);
    evict(now);
}

ATTENTA_INLINE void Evictor::step(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<float> o,
                                  Context& context) {
    const char* const f = "Evictor::step";
    if (q.tokens != 1) fail(f, "q has " + std::to_string(q.tokens) + " tokens, needs one");
    if (!o.data) fail(f, "o is null, has elements to hold");
    check(f, q, k, v, o);
    append(k, v);
    EvictionMoment now;
    const KvView kv = cache_.view_of_past(options_.layer);
    SoftmaxOptions options;
    options.scale = options_.scale;
    now.weights_stride = kv.length(0);
    detail::attend_with_scores(cache_.turn_queries(q, turned_), kv, o, options, needs_.weights ? lse_.data() : nullptr,
                               needs_.weights ? weights_.data() : nullptr, now.weights_stride, context);
    cache_.turn_outputs(o);
    now.o = o;
    if (needs_.weights) {
        for (std::int64_t h = 0; h < q.heads; ++h)
            eviction::eviction_kernels().weights(weights_.data() + h * now.weights_stride,
                                                 kv.length(0, h / shape_.group()), lse_[static_cast<std::size_t>(h)]);
        now.weights = weights_.data();
    }
    const std::int64_t newest = cache_.seen(options_.layer) - 1, count = std::min(needs_.window, newest + 1);
    if (needs_.window == 0) {
        Attention attention(*this, q, newest, false, context);
        now.attention = &attention;
        return evict(now);
    }
    for (std::int64_t h = 0; h < q.heads; ++h)
        std::copy_n(q.row(h, 0), q.dim, window_.data() + (h * needs_.window + newest % needs_.window) * q.dim);
    queries_.resize(static_cast<std::size_t>(q.heads * count * q.dim));
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t i = 0; i < count; ++i)
            std::copy_n(window_.data() + (h * needs_.window + (newest - count + 1 + i) % needs_.window) * q.dim, q.dim,
                        queries_.data() + (h * count + i) * q.dim);
    Attention attention(*this, hnd<const float>(queries_.data(), q.heads, count, q.dim), newest - count + 1, false,
                        context);
    now.attention = &attention;
    evict(now);
}

/// Slots of the tokens that a choice leaves out.
ATTENTA_INLINE std::span<const std::int32_t> Evictor::chosen(const HeldTokens& held, const EvictionChoice& choice) {
    const std::int64_t n = held.size(), surplus = n - choice.keep;
    gone_.clear();
    if (surplus <= 0) return gone_;
    const std::int64_t recent = held.newest(choice.recent);
    const auto refuse = [&] {
        fail("Evictor", "scores of head " + std::to_string(held.head) + " are no finite numbers, or fewer than " +
                            std::to_string(surplus) + " of " + std::to_string(n) +
                            " tokens may go, needs scores of those that are not protected");
    };
    if (surplus == 1 && choice.scores) {
        const std::int64_t slot =
            eviction::eviction_kernels().lowest(choice.scores, held.positions.data(), n, choice.sink, recent);
        if (slot < 0) refuse();
        gone_.push_back(static_cast<std::int32_t>(slot));
        return gone_;
    }
    order_.clear();
    for (const std::int32_t slot : held.slots) {
        const std::int64_t position = held.positions[static_cast<std::size_t>(slot)];
        if (position < choice.sink || position >= recent) continue;
        if (choice.scores && !is_finite(choice.scores[slot])) {
            if (is_nan(choice.scores[slot])) refuse();
            if (choice.scores[slot] > 0) continue;  // protected
        }
        order_.push_back(slot);
    }
    if (std::ssize(order_) < surplus) refuse();
    const auto goes_first = [&](std::int32_t a, std::int32_t b) {
        if (choice.scores && choice.scores[a] != choice.scores[b]) return choice.scores[a] < choice.scores[b];
        return held.positions[static_cast<std::size_t>(a)] < held.positions[static_cast<std::size_t>(b)];
    };
    std::nth_element(order_.begin(), order_.begin() + surplus - 1, order_.end(), goes_first);
    gone_.assign(order_.begin(), order_.begin() + surplus);
    return gone_;
}

ATTENTA_INLINE void Evictor::evict(EvictionMoment& now) {
    now.seen = cache_.seen(options_.layer);
    now.shape = shape_;
    policy_.observe(now, heads_);
    std::fill(choices_.begin(), choices_.end(), EvictionChoice{});
    policy_.judge(now, heads_, choices_);
    for (std::size_t g = 0; g < heads_.size(); ++g) {
        const HeldTokens& held = heads_[g];
        const auto gone = chosen(held, choices_[g]);
        if (gone.empty()) continue;
        policy_.leave(held, gone, cache_);
        const auto moves = cache_.evict(options_.layer, held.head, gone);
        const auto move_all = [&](auto* column) {
            for (const KvCache::Move& m : moves) column[m.to] = column[m.from];
        };
        for (std::int64_t c = 0; c < needs_.columns; ++c) move_all(held.column(c));
        for (std::int64_t c = 0; c < needs_.byte_columns; ++c) move_all(held.byte_column(c));
    }
    look();
}

ATTENTA_INLINE std::vector<std::int32_t> Evictor::kept(std::int64_t head) const {
    const auto slots = cache_.slots(options_.layer, head), positions = cache_.positions(options_.layer, head);
    std::vector<std::int32_t> kept;
    for (const std::int32_t slot : slots) kept.push_back(positions[static_cast<std::size_t>(slot)]);
    return kept;
}

ATTENTA_END
