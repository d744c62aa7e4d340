// Routing attention: tokens attend inside the clusters of the centroids that they are nearest to. Roy et al. 2020, "Efficient
// Content-Based Sparse Attention with Routing Transformers", section 4, algorithm 1.
//
//   members of c = the w tokens of the largest x̂_t·mu_c, queries and keys apart unless k = q;  x̂ = normalised x
//   o_t = Σ_c softmax over keys j <= t of c of scale · q_t·k_j, times v_j, / number of these clusters c
//
//   update of the centroids, every token counting for its nearest one, mean or sum over the tokens of a centroid:
//     sum    λ mu + (1 − λ)/2 · (Σ q̂ + Σ k̂)
//     unit   λ mu + (1 − λ) · Σ x̂ / ‖Σ x̂‖, without tokens mu
//     count  n' = λ n + (1 − λ) · number, S' = λ S + (1 − λ) Σ x̂,  S' / ((n' + 1e-5) / (N + C · 1e-5) · N), N = Σ n'
//
// Membership looks at all tokens, so a step at a time gives the same only without those that come later. Time per head
// T·C·D to rank and C·w²·(D + Dv) to attend, which is T^1.5 for C near sqrt(T).
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/error.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/inputs.hpp>
#include <attenta/engine/lists/key_lists.hpp>

#include <array>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

/// (x − mean) / sqrt(variance + 1e-6) over the features, or x / max(‖x‖, 1e-12).
enum class RoutingNorm : std::uint8_t { layer, l2 };
constexpr std::array<std::string_view, 2> names_of(RoutingNorm) { return {"layer", "l2"}; }
/// What enters the scores normalised.
enum class RoutingLogits : std::uint8_t { qk, k, none };
constexpr std::array<std::string_view, 3> names_of(RoutingLogits) { return {"qk", "k", "none"}; }
enum class RoutingUpdate : std::uint8_t { sum, unit, count };
constexpr std::array<std::string_view, 3> names_of(RoutingUpdate) { return {"sum", "unit", "count"}; }

/// Without k, keys are the queries. What is averaged of the counts and sums of a centroid is for the update `count`.
struct RoutingInputs {
    Heads<const float> q, v, mu;
    Heads<const float> k = {};
    Heads<const float> ema_count = {}, ema_sum = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, T, D]");
        visit("v", x.v, "[H, T, Dv]");
        visit("mu", x.mu, "[H, TC, D]");
        visit("k", x.k, "[H, T, D]", Input::optional);
        visit("ema_count", x.ema_count, "[H, TC]", Input::optional);
        visit("ema_sum", x.ema_sum, "[H, TC, D]", Input::optional);
    }
};

struct RoutingOptions {
    std::optional<std::int64_t> window = {};  ///< tokens of a cluster, default T / C
    bool causal = true;                       ///< a query reads the keys of its clusters up to its own
    RoutingNorm norm = RoutingNorm::layer;
    RoutingLogits logit_norm = RoutingLogits::qk;
    bool self_mask = false;  ///< where keys are the queries: a token reads itself only where it reads nothing else
    float scatter_eps = 0;   ///< is added to the number of clusters
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    float decay = 0.999f;             ///< λ
    RoutingUpdate update = RoutingUpdate::sum;
    bool check_data = false;  ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("window", o.window, "tokens of a cluster, default T / C");
        visit("causal", o.causal, "a query reads the keys of its clusters up to its own");
        visit("norm", o.norm, "layer or l2: how tokens are normalised");
        visit("logit_norm", o.logit_norm, "qk, k or none: what enters the scores normalised");
        visit("self_mask", o.self_mask, "a token reads itself only where it reads nothing else");
        visit("scatter_eps", o.scatter_eps, "is added to the number of clusters");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("decay", o.decay, "share of the centroids that an update keeps");
        visit("update", o.update, "sum, unit or count: how centroids move");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

struct RoutingOutputs {
    Heads<float> o;                 ///< [H, T, Dv], 0 where a token is in no cluster
    std::int64_t* count = nullptr;  ///< [H, T], clusters whose keys a token reads; or null
    KeyLists* queries = nullptr;    ///< a list of tokens for each head and centroid; or null
    KeyLists* keys = nullptr;
};

/// The next centroids, which may be those of the inputs; ema_count [H, C] and ema_sum of the update `count` alone.
struct RoutingCentroids {
    Heads<float> mu;
    float* ema_count = nullptr;
    Heads<float> ema_sum = {};
};

/// The selection alone: members of the clusters, a list for each head and centroid. Throws Error on shapes and options that
/// do not fit, and where similarities are not numbers.
void routing_lists(const RoutingInputs& x, KeyLists& queries, KeyLists& keys, const RoutingOptions& options = {},
                   Context& context = default_context());

/// Throws Error as routing_lists does; nothing is written then.
void routing(const RoutingInputs& x, const RoutingOutputs& out, const RoutingOptions& options = {},
             Context& context = default_context());

/// Moves the centroids. Throws Error on shapes and options that do not fit; nothing is written then.
void routing_update(const RoutingInputs& x, const RoutingCentroids& out, const RoutingOptions& options = {},
                    Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/select.inl>
#include <attenta/sparse/content/routing.inl>
#endif
