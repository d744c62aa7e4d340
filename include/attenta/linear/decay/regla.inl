#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/decay/regla.hpp>
#include <attenta/linear/decay/regla_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_regla(const ReglaInputs& x, const LinearState& state, const ReglaOptions& options) {
    const auto text = [](auto n) { return std::to_string(n); };
    require_not_negative("regla", "eps", options.eps);
    const std::int64_t width = options.gate_axis == ReglaGateAxis::value ? x.v.dim : x.k.dim;
    for (const auto& [name, logits] : {std::pair{"gate", x.gate}, {"refine", x.refine}})
        if (logits.dim != width)
            fail("regla", std::string(name) + " has " + text(logits.dim) + " channels, needs " + text(width));
    if (options.key_max == ReglaKeyMax::sequence && !state.empty() &&
        static_cast<std::int64_t>(state.key_max.size()) != state.heads)
        fail("regla", "state.key_max has " + text(state.key_max.size()) + " elements, needs " + text(state.heads));
}

/// The maxima of keys, the state's included, and the state in their units. `key_max` has an element for each head.
inline void take_key_max(Heads<const float> k, std::vector<float>& key_max, LinearState& state, bool is_new) {
    constexpr float none = -std::numeric_limits<float>::infinity();
    const LargestKey largest = largest_key();
    for (std::int64_t h = 0; h < k.heads; ++h) {
        float& top = key_max[static_cast<std::size_t>(h)];
        const float old = is_new ? none : top;
        top = largest(k, h, old);
        if (top == none) top = 0;  // nothing but NaN and infinities: their own rows
        if (old == top || old == none) continue;
        const float factor = std::exp(old - top);
        for (std::int64_t i = 0; i < state.dim * state.dim_v; ++i) state.of(h)[i] *= factor;
    }
}

}  // namespace detail

ATTENTA_INLINE void regla(const ReglaInputs& x, Heads<float> o, LinearState& state, const ReglaOptions& options,
                          Context& context) {
    constexpr double e = 2.718281828459045;
    constexpr std::int64_t longest_segment = 256;  // gates of a segment stay in cache
    const auto usual = 1 / (e * std::sqrt(static_cast<double>(x.k.dim) * (e * e - 1)));
    const bool sequence = options.key_max == ReglaKeyMax::sequence,
               by_value = options.gate_axis == ReglaGateAxis::value;
    scan::Request r{.function = "regla", .q = x.q, .k = x.k, .v = x.v};
    r.scale = options.scale.value_or(static_cast<float>(usual));
    scan::check(r, InputList(x), o, state, options.check_data);
    detail::check_regla(x, state, options);

    const std::int64_t heads = x.k.heads, tokens = x.k.tokens, width = x.gate.dim,
                       segment = std::min(tokens, longest_segment);
    const detail::InlineArray<float, 4096> gates(heads * segment * width);
    const Heads<float> g = hnd(gates.data(), heads, segment, width);
    (by_value ? r.gv : r.g) = g;
    const features::ShiftedExp of_rows;
    features::ShiftedExp of_keys;
    r.q_map = {features::shifted_exp(), &of_rows};
    r.k_map = {features::shifted_exp(), &of_keys};
    scan::reserve(r, context);
    const bool is_new = state.empty();
    std::vector<float> key_max;
    if (sequence && state.key_max.size() != static_cast<std::size_t>(heads))
        key_max.resize(static_cast<std::size_t>(heads));
    scan::begin_state(r, state);
    if (!key_max.empty()) state.key_max.swap(key_max);
    if (sequence) {
        detail::take_key_max(x.k, state.key_max, state, is_new);
        of_keys.shift = features::ShiftedExp::head;
        of_keys.shifts = state.key_max.data();
    }
    const detail::RefinedGates refined = detail::refined_gates();
    for (std::int64_t begin = 0; begin < tokens; begin += segment) {
        const std::int64_t count = std::min(segment, tokens - begin);
        context.executor().parallel_for(heads, [&](std::int64_t h, int) {
            for (std::int64_t t = 0; t < count; ++t)
                refined(x.gate.row(h, begin + t), x.refine.row(h, begin + t), width, g.row(h, t));
        });
        scan::Request part = detail::tokens_of(r, begin, count);
        (by_value ? part.gv : part.g) = Heads<const float>(g.slice(0, count));
        scan::run(part, o.slice(begin, count), state, context);
    }
    if (options.norm != RowNorm::none)
        detail::norm_rows(o, {}, false, options.norm, RowGate::none, options.eps, context);
}

ATTENTA_END
