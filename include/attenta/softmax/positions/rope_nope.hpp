// Layers of two kinds: rotary positions within a sliding window, and full attention without positions. Yang et al. 2025, Rope to
// Nope and Back Again; QK-Norm: Dehghani et al. 2023.
//
//   rope:  q and k rotated by their positions (all D channels), causal, the last `window` keys with the query's own; 0: all
//   nope:  causal attention over all earlier keys, no rotation, no window
//   norm:  before the rotation, in either kind, rms x / sqrt(mean x² + eps) ⊙ weight or layer (x − mean) / sqrt(var + eps) ⊙ weight
//
// Published: every fourth layer is nope (is_nope_layer), window 4096. q and k come as the projections give them; only keys that
// some query sees are prepared. A decoder keeps its keys rotated instead: rope_rotate for the new token, and softmax_attention
// with window_left = window − 1 on the cache.
#pragma once

#include <attenta/softmax/common.hpp>
#include <attenta/softmax/positions/rope.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

enum class RopeNopeLayer : std::uint8_t { rope, nope };
constexpr std::array<std::string_view, 2> names_of(RopeNopeLayer) { return {"rope", "nope"}; }
enum class QueryKeyNorm : std::uint8_t { none, rms, layer };
constexpr std::array<std::string_view, 3> names_of(QueryKeyNorm) { return {"none", "rms", "layer"}; }

/// Layers are counted from 0.
constexpr bool is_nope_layer(std::int64_t layer, std::int64_t period = 4) { return (layer + 1) % period == 0; }

struct RopeNopeInputs {
    Heads<const float> q, k, v;
    Matrices<const float> q_norm = {}, k_norm = {};  ///< of 1 or all heads, with a norm

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("q_norm", x.q_norm, "[Hn, D]", Input::optional);
        visit("k_norm", x.k_norm, "[Hm, D]", Input::optional);
    }
};

struct RopeNopeOptions {
    RopeNopeLayer layer = RopeNopeLayer::rope;
    std::int64_t window = 0;  ///< keys that a query of a rope layer sees, its own included; 0: all
    double base = 10000;
    RopeLayout layout = RopeLayout::interleaved;
    QueryKeyNorm norm = QueryKeyNorm::none;
    float eps = 1e-5f;
    std::optional<float> scale = {};            ///< default 1/sqrt(D)
    std::optional<std::int64_t> q_offset = {};  ///< position of query 0, default Tk − Tq

    static void fields(auto&& visit, auto& o) {
        visit("layer", o.layer, "rope or nope");
        visit("window", o.window, "keys that a query of a rope layer sees, 0: all");
        visit("base", o.base, "of the frequencies");
        visit("layout", o.layout, "pairs are halves or neighbours");
        visit("norm", o.norm, "of q and k: none, rms or layer");
        visit("eps", o.eps, "keeps the norm from 0");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("q_offset", o.q_offset, "position of query 0, default Tk - Tq");
    }
};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit, on missing or superfluous weights;
/// nothing is written then.
void rope_nope(const RopeNopeInputs& x, const SoftmaxOutputs& out, const RopeNopeOptions& options = {},
               Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/softmax/positions/rope_nope.inl>
#endif
