// Combiner: full support at the cost of sparse attention, to near keys directly and to regions by what they hold together. Ren
// et al. 2021, "Combiner: Full Attention Transformer with Sparse Computation Cost", sections 3-4.
//
//   Q_r = pool(q_j), K_r = pool(k_j), V_r = Σ_j softmax_j(scale · Q_r·k_j) v_j,  j in region r
//   o_i = Σ p_ij v_j + Σ p_ir V_r,  p = one softmax of scale · q_i·k_j of direct keys and scale · q_i·K_r of regions
//
//   fixed      direct: the own segment; regions: all earlier segments, or all others
//   logsparse  direct: the token itself; regions: for every set bit 2^b of i a block of 2^b tokens, which tile [0, i)
//
// Time per head: fixed T·(S + T/S)·(D + Dv), logsparse T·log T·(D + Dv).
#pragma once

#include <attenta/sparse/common.hpp>

#include <array>
#include <string_view>

ATTENTA_BEGIN

enum class CombinerVariant : std::uint8_t { fixed, logsparse };
constexpr std::array<std::string_view, 2> names_of(CombinerVariant) { return {"fixed", "logsparse"}; }

/// What pools queries and keys of a region: a function of each number, then one of each channel. Scores of sums grow with
/// the region.
enum class CombinerSummary : std::uint8_t { identity_max, identity_mean, identity_sum, relu_max, relu_mean, relu_sum };
constexpr std::array<std::string_view, 6> names_of(CombinerSummary) {
    return {"identity-max", "identity-mean", "identity-sum", "relu-max", "relu-mean", "relu-sum"};
}

struct CombinerInputs {
    Heads<const float> q;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

struct CombinerOptions {
    CombinerVariant variant = CombinerVariant::fixed;
    std::optional<std::int64_t> segment = {};  ///< of fixed: its tokens, default about sqrt(T)
    CombinerSummary summary = CombinerSummary::identity_max;
    bool causal = true;               ///< of fixed: false: regions are all other segments
    bool own_summary = false;         ///< not causal: the own segment's region, too, as in the released code
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("variant", o.variant, "fixed or logsparse");
        visit("segment", o.segment, "tokens of a segment of fixed, default about sqrt(T)");
        visit("summary", o.summary, "identity or relu, then -max, -mean or -sum: what pools a region");
        visit("causal", o.causal, "false: regions are all other segments");
        visit("own_summary", o.own_summary, "not causal: the own segment's region, too");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Tq = Tk. Throws Error on shapes and options that do not fit; nothing is written then.
void combiner(const CombinerInputs& x, const SparseOutputs& out, const CombinerOptions& options = {},
              Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/content/combiner.inl>
#endif
