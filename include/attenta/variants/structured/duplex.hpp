// Modular duplex attention: keys of one modality are aligned with a normalised Gram matrix of another and fused back, then masked
// softmax attention. Zhang et al. 2025, "MODA: MOdular Duplex Attention for Multimodal Perception, Cognition, and Emotion
// Understanding"; pseudo-attention: Yin et al. 2024, "StableMask".
//
//   K̂ = (K + 1e-6) / |K + 1e-6| per row;  for each pair (a, b) of `align`, all from the original K:
//   G_b = K̂_bᵀ V_b (`value`, released) or K̂_bᵀ K̂_b (`key`, the paper), each row scaled to norm 1
//   K'_a = (K_a + ratio_a ⊙ (K̂_a G_b)) W_aᵀ,   o = softmax(scale q K'ᵀ + masks) v
//   decay β: the row at position i < n has n − 1 − i further scores 0, −β, −2β, … in its denominator, without values
//
// Keys are aligned once per K/V head, on the whole prompt: later tokens count. Time T²·D + T·D² per head.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

enum class DuplexGram : std::uint8_t { value, key };
constexpr std::array<std::string_view, 2> names_of(DuplexGram) { return {"value", "key"}; }

/// M modalities 0 .. M − 1. A query of modality a sees a key of modality b where modality_mask[a, b] is not 0; queries are the last
/// tokens then.
struct DuplexInputs {
    Heads<const float> q, k, v;
    std::span<const std::int64_t> modality;
    Matrices<const float> ratio;
    Heads<const float> w_fuse;
    Matrices<const std::int64_t> modality_mask = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("modality", x.modality, "[Tk]");
        visit("ratio", x.ratio, "[M, D]");
        visit("w_fuse", x.w_fuse, "[M, D, D]");
        visit("modality_mask", x.modality_mask, "[M, M]", Input::optional);
    }
};

struct DuplexOutputs {
    Heads<float> o;        ///< [Hq, Tq, Dv]
    float* lse = nullptr;  ///< [Hq, Tq], pseudo scores included, or null
    Heads<float> k = {};   ///< [Hq, Tk, D] the keys after alignment, or without data
};

struct DuplexOptions {
    std::vector<std::array<std::int64_t, 2>> align{
        {1, 0}};                              ///< pairs (target, source); of equal targets the last counts
    DuplexGram gram = DuplexGram::value;      ///< value needs Dv = D
    bool causal = true;                       ///< query i sees keys j <= i
    std::optional<float> scale = {};          ///< default 1/sqrt(D); finite
    std::optional<float> decay = {};          ///< of pseudo scores, at least 0, causal alone; null: none
    std::optional<std::int64_t> length = {};  ///< tokens that pseudo scores fill up to, default Tk
    bool check_data = false;                  ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("align", o.align, "pairs of modalities, target and source");
        visit("gram", o.gram, "of keys with values, or with keys");
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("decay", o.decay, "of pseudo scores, null: none");
        visit("length", o.length, "tokens that pseudo scores fill up to, default Tk");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// A pair whose modality is absent is skipped; a row of a Gram matrix that vanishes stays 0. Throws Error on shapes and options
/// that do not fit and on a mask that leaves a query without keys; nothing is written then.
void duplex(const DuplexInputs& x, const DuplexOutputs& out, const DuplexOptions& options = {},
            Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/dense_maps.inl>
#include <attenta/variants/structured/duplex.inl>
#include <attenta/variants/structured/duplex_kernels.inl>
#include <attenta/variants/structured/row_kernels.inl>
#endif
