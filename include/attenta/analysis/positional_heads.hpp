// Which rotary dimensions of a head measure distance. Hong et al. 2024, "On the token distance modeling ability of higher RoPE attention
// dimension".
//
//   part_pf = q_a k_a + q_b k_b of sampled pairs p and rotary pairs f of D/2: (a, b) = (f, f + D/2) half, (2f, 2f + 1) interleaved
//   contribution_f = mean of part_pf over the pairs
//   distance_correlation_f, score_correlation_f = Spearman correlation of part_pf with |i + Tk − Tq − j|, and with Σ_f part_pf
//   frequency_center = Σ_f w_f f / max(Σ_f w_f, 1e-12) / max(D/2 − 1, 1), w = max(score_correlation, 0)
//
// q and k are rotated already, slow frequencies last. Equal numbers share their mean rank; a constant side correlates 0. How heads
// are called positional is a reading: frequency_center is near 1 where slow dimensions decide. Time Hq·P·D·log P.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

ATTENTA_BEGIN

namespace analysis {

enum class RotaryLayout : std::uint8_t { half, interleaved };
constexpr std::array<std::string_view, 2> names_of(RotaryLayout) { return {"half", "interleaved"}; }

struct PositionalHeadsInputs {
    Heads<const float> q, k;
    std::span<const std::int64_t> query_index, key_index;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("query_index", x.query_index, "[P]");
        visit("key_index", x.key_index, "[P]");
    }
};

struct PositionalHeadsOptions {
    RotaryLayout layout = RotaryLayout::half;

    static void fields(auto&& visit, auto& o) {
        visit("layout", o.layout, "half or interleaved: which channels are rotated together");
    }
};

struct PositionalHeadsOutputs {
    float *contribution = nullptr, *distance_correlation = nullptr, *score_correlation = nullptr,
          *frequency_center = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("contribution", out.contribution, "[Hq, F]");
        visit("distance_correlation", out.distance_correlation, "[Hq, F]");
        visit("score_correlation", out.score_correlation, "[Hq, F]");
        visit("frequency_center", out.frequency_center, "[Hq]");
    }
    static void sizes(auto&& set, const PositionalHeadsInputs& x, const PositionalHeadsOptions&) {
        set("F", x.q.dim / 2);
    }
};

/// Throws Error on shapes that do not fit, an odd D, fewer than two pairs, indices outside q and k, and numbers that are not finite;
/// nothing is written then.
void positional_heads(const PositionalHeadsInputs& x, const PositionalHeadsOutputs& out,
                      const PositionalHeadsOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/positional_heads.inl>
#endif
