#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/kv/eviction/threshold.hpp>
#include <attenta/kv/eviction/window_scores.hpp>
#include <attenta/kv/policies/nats.hpp>

#include <algorithm>
#include <string>

ATTENTA_BEGIN

namespace detail {

inline constexpr std::int64_t nats_global = 0, nats_sliding = 2;

inline bool is_nats_type(std::int64_t type) { return type >= nats_global && type <= nats_sliding; }

/// types [H, T]: type_of(head, token) behind the first tokens.
template <class F>
std::vector<std::int64_t> nats_types(std::int64_t heads, std::int64_t tokens, const NatsOptions& options, F&& type_of) {
    eviction::require_at_least("nats", "sink", options.sink, 0);
    std::vector<std::int64_t> types;
    for (std::int64_t g = 0; g < heads; ++g)
        for (std::int64_t t = 0; t < tokens; ++t) {
            const std::int64_t type = type_of(g, t);
            types.push_back(t < options.sink ? nats_global : type);
        }
    return types;
}

}  // namespace detail

ATTENTA_INLINE std::vector<std::int64_t> nats_types(Heads<const std::int64_t> types, const NatsOptions& options) {
    return detail::nats_types(types.heads, types.tokens, options, [&](std::int64_t g, std::int64_t t) {
        const std::int64_t type = *types.row(g, t);
        if (!detail::is_nats_type(type))
            fail("nats", "types is " + std::to_string(type) + " for token " + std::to_string(t) + " of head " +
                             std::to_string(g) + ", needs 0, 1 or 2");
        return type;
    });
}

ATTENTA_INLINE std::vector<std::int64_t> nats_types(Heads<const float> logits, const NatsOptions& options) {
    if (logits.dim != 3) fail("nats", "logits have " + std::to_string(logits.dim) + " numbers of a token, needs 3");
    if (!is_finite(options.global_bias))
        fail("nats", "global_bias is " + std::to_string(options.global_bias) + ", needs a finite number");
    return detail::nats_types(logits.heads, logits.tokens, options, [&](std::int64_t g, std::int64_t t) {
        const float* const l = logits.row(g, t);
        if (!std::all_of(l, l + 3, is_finite))
            fail("nats", "logits have NaN or infinity for token " + std::to_string(t) + " of head " +
                             std::to_string(g) + ", needs finite numbers");
        const float biased[] = {l[0] + options.global_bias, l[1], l[2]};
        return std::int64_t{std::max_element(biased, biased + 3) - biased};
    });
}

ATTENTA_INLINE EvictionNeeds Nats::needs(const EvictionShape& shape) {
    eviction::require_at_least("nats", "window", options_.window, 0);
    eviction::require_at_least("nats", "sink", options_.sink, 0);
    types_.check(shape, "0, 1 or 2", detail::is_nats_type);
    newest_global_.assign(static_cast<std::size_t>(shape.kv_heads), -1);
    return {.columns = 2, .rows = true};
}

ATTENTA_INLINE void Nats::arrive(const HeldTokens& held, std::int64_t slot, const float*, const float*) {
    const std::int64_t position = held.positions[static_cast<std::size_t>(slot)];
    const std::int64_t type = position < options_.sink ? detail::nats_global : types_.of(held, slot);
    held.column(0)[slot] = static_cast<float>(type);
    if (type == detail::nats_global) newest_global_[static_cast<std::size_t>(held.head)] = position;
}

ATTENTA_INLINE void Nats::judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
                                std::span<EvictionChoice> choices) {
    // What the next query, at position `seen`, still reads.
    const std::int64_t first_sliding = now.seen - std::min(options_.window, now.seen);
    for (const HeldTokens& held : heads) {
        const auto g = static_cast<std::size_t>(held.head);
        const std::int64_t first_of_type[] = {0, newest_global_[g] + 1, first_sliding};
        const float* const types = held.column(0);
        float* const stays = held.column(1);
        for (std::size_t i = 0; i < held.positions.size(); ++i)
            stays[i] = held.positions[i] >= first_of_type[static_cast<std::size_t>(types[i])] ? 1.f : 0.f;
        choices[g] = eviction::keep_from(1.f, held, stays);
    }
}

ATTENTA_END
