// Agreement of attention with a property of pairs of tokens: contacts, binding sites, a topic, a region of an image. Vig et al. 2021,
// "BERTology Meets Biology", section 3 (share); the other four are readings, for the papers that average weights.
//
//   count  = pairs (i, j) with a_ij >= min_attn,   share = those of them with f_ij = 1 / max(count, 1)
//   mass   = Σ_ij a_ij f_ij / Σ_ij a_ij,           mean  = Σ_ij a_ij f_ij / max(Σ_ij f_ij, 1)
//   energy = (1 − mass)²                           the region energy of Wu et al. 2024, "ControlMLLM"
//
// One pass over the weights, for all features. Over many texts counts and sums add up before the division. Time L·H·Tq·Tk·F.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace analysis {

struct FeatureAlignmentInputs {
    Weights attn;
    DenseTensor<const std::int64_t, 3> feature;  ///< 1 for pairs that have the property, else 0

    static void list(auto&& visit, auto& x) {
        visit("attn", x.attn, "[L, H, Tq, Tk]");
        visit("feature", x.feature, "[F, Tq, Tk]");
    }
};

struct FeatureAlignmentOptions {
    double min_attn = 0.3;  ///< a weight from here on is strong, 0 to 1

    static void fields(auto&& visit, auto& o) { visit("min_attn", o.min_attn, "a weight from here on is strong"); }
};

struct FeatureAlignmentOutputs {
    std::int64_t* count = nullptr;
    float *share = nullptr, *mass = nullptr, *mean = nullptr, *energy = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("count", out.count, "[L, H]");
        visit("share", out.share, "[F, L, H]");
        visit("mass", out.mass, "[F, L, H]");
        visit("mean", out.mean, "[F, L, H]");
        visit("energy", out.energy, "[F, L, H]");
    }
};

/// Throws Error on shapes and options that do not fit, a feature that is neither 0 nor 1, and a head whose weights do not sum to a
/// number above 0; nothing is written then.
void feature_alignment(const FeatureAlignmentInputs& x, const FeatureAlignmentOutputs& out,
                       const FeatureAlignmentOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/feature_alignment.inl>
#endif
