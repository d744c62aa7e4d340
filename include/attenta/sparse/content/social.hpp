// Socialformer: tokens as people of a social network, who attend to whom they know. Zhou et al. 2022, "Socialformer: Social Network
// Inspired Long Document Modeling for Document Ranking", section 3.
//
//   P = mix · (dynamic centrality, dynamic distance, static centrality, static distance), scaled to ΣP = sparsity · T²
//     centralities   w wᵀ of the given weights;  static distance norm(1 / (|i − j| div period + 1)²)
//     dynamic distance   g gᵀ, g_i = norm(Σ over matches m, m − delta <= i < m + delta, of 1 / (|m − i| div window + 1))
//     norm(x) = (x − min) / (max − min), or x where all are equal
//   i and j <= i know each other where coin_ij <= P_ij;  A(i) = whom i knows, and itself
//
// Circles of friends are found greedily: who knows most, and whom they know, whose edges are then used up. Nothing is drawn here:
// the coins are given. Time T² for the edges, then edges·(D + Dv) per head.
#pragma once

#include <attenta/sparse/common.hpp>

#include <array>
#include <string_view>

ATTENTA_BEGIN

/// What a circle uses up: the edges between its members, or all of their edges.
enum class SocialPartition : std::uint8_t { edge, node };
constexpr std::array<std::string_view, 2> names_of(SocialPartition) { return {"edge", "node"}; }

/// match is 1 where a token's term is one of the query's, else 0; coins are uniform in [0, 1).
struct SocialInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const std::int64_t> match;
    std::span<const float> w_static, w_dynamic;
    Heads<const float> coin;  ///< [T, T, 1]; only j <= i counts

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("match", x.match, "[Tk]");
        visit("w_static", x.w_static, "[Tk]");
        visit("w_dynamic", x.w_dynamic, "[Tk]");
        visit("coin", x.coin, "[Tk, Tk]");
    }
};

struct SocialOptions {
    std::array<float, 4> mix = {0.2f, 0.3f, 0.2f, 0.3f};  ///< dynamic centrality and distance, then static ones
    std::int64_t period = 50;                             ///< tokens of a step of the static distance
    std::int64_t delta = 512;                             ///< tokens before a match, and after it, that it counts for
    std::int64_t window = 5;                              ///< tokens of a step of the dynamic distance
    float sparsity = 0.07f;                               ///< expected share of edges
    std::int64_t circles = 8, circle_size = 128;
    SocialPartition partition = SocialPartition::edge;
    bool self_loops = true;           ///< a token knows itself
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("mix", o.mix, "weights of dynamic centrality and distance, static centrality and distance");
        visit("period", o.period, "tokens of a step of the static distance");
        visit("delta", o.delta, "tokens before a match, and after it, that it counts for");
        visit("window", o.window, "tokens of a step of the dynamic distance");
        visit("sparsity", o.sparsity, "expected share of edges");
        visit("circles", o.circles, "circles of friends");
        visit("circle_size", o.circle_size, "tokens that a circle has at most");
        visit("partition", o.partition, "edge or node: what a circle uses up");
        visit("self_loops", o.self_loops, "a token knows itself");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

struct SocialOutputs : SparseOutputs {
    std::int64_t* circle_nodes = nullptr;  ///< [circles, circle_size], centre first, padded with -1; or null
};

/// The graph alone, a list for each token, and its circles. Tq = Tk. Throws Error on shapes and options that do not fit, and
/// where ΣP is not above 0.
void social_lists(const SocialInputs& x, KeyLists& lists, const SocialOptions& options = {},
                  Context& context = default_context(), std::int64_t* circle_nodes = nullptr);

/// Throws Error as social_lists does; nothing is written then.
void social(const SocialInputs& x, const SocialOutputs& out, const SocialOptions& options = {},
            Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/content/social.inl>
#endif
