// Where heads look: distances, windows, offsets, classes of tokens, patches of an image. Clark et al. 2019, "What Does BERT Look At?",
// section 3; Javed et al. 2022, "Towards Building ASR Systems for the Next Billion Users"; Li et al. 2023, "How Does Attention Work in
// Vision Transformers?".
//
//   distance = Σ_ij a_ij |i − j| / T,   local_mass = Σ_{|i−j| <= window} a_ij / T,   offset_mass_o = Σ_{j−i = o} a_ij / T
//   entropy = mean_i −Σ_j b_ij log b_ij, b = (1 − ε) a + ε / T
//   classes c_j in {0, 1}:   class_mass = Σ a_ij c_j / T,   class_from_members = Σ c_i a_ij c_j / max(Σ c_i, 1),
//                            class_from_others = Σ (1 − c_i) a_ij c_j / max(Σ (1 − c_i), 1)
//   grid of rows × cols patches from token grid_start on:   grid_distance = Σ_pq a_pq |p − q| / patches, Euclidean
//                            hop_strength_r = mean of a_pq over pairs with max(|dy|, |dx|) = r, 0 .. max(rows, cols) − 1
//
// Windows and hops are readings. One pass over the rows: time L·H·T²·(C + 2), L·H·patches² for a grid.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

struct HeadDistanceInputs {
    Weights attn;
    DenseTensor<const std::int64_t, 2> classes = {};  ///< other than 0: the token is a member

    static void list(auto&& visit, auto& x) {
        visit("attn", x.attn, "[L, H, T, T]");
        visit("classes", x.classes, "[C, T]", Input::optional);
    }
};

struct HeadDistanceOptions {
    std::int64_t window = 1;                         ///< farthest distance that is local
    std::vector<std::int64_t> offsets = {-1, 0, 1};  ///< of a key from its query
    double smoothing = 1e-4;                         ///< share of the uniform weights in the entropy; 0 log 0 is 0
    std::optional<std::array<std::int64_t, 2>> grid = {};  ///< rows and columns of patches
    std::int64_t grid_start = 0;                           ///< token of the first patch

    static void fields(auto&& visit, auto& o) {
        visit("window", o.window, "farthest distance that is local");
        visit("offsets", o.offsets, "offsets of a key from its query");
        visit("smoothing", o.smoothing, "share of the uniform weights in the entropy");
        visit("grid", o.grid, "rows and columns of patches");
        visit("grid_start", o.grid_start, "token of the first patch");
    }
};

struct HeadDistanceOutputs {
    float *distance = nullptr, *local_mass = nullptr, *entropy = nullptr, *offset_mass = nullptr;
    float *class_mass = nullptr, *class_from_members = nullptr, *class_from_others = nullptr;  ///< with classes
    float *grid_distance = nullptr, *hop_strength = nullptr;                                   ///< with a grid

    static void list(auto&& visit, auto& out) {
        visit("distance", out.distance, "[L, H]");
        visit("local_mass", out.local_mass, "[L, H]");
        visit("entropy", out.entropy, "[L, H]");
        visit("offset_mass", out.offset_mass, "[O, L, H]");
        visit("class_mass", out.class_mass, "[C, L, H]");
        visit("class_from_members", out.class_from_members, "[C, L, H]");
        visit("class_from_others", out.class_from_others, "[C, L, H]");
        // A letter of its own, which only a grid gives.
        visit("grid_distance", out.grid_distance, "[Lg, H]");
        visit("hop_strength", out.hop_strength, "[R, L, H]");
    }
    static void sizes(auto&& set, const HeadDistanceInputs& x, const HeadDistanceOptions& o) {
        if (!o.offsets.empty()) set("O", std::ssize(o.offsets));
        if (!o.grid) return;
        set("Lg", x.attn.size(0));
        set("R", std::max((*o.grid)[0], (*o.grid)[1]));
    }
};

/// An offset of T or more weighs 0. Throws Error on weights that are not square, options that do not fit, and a grid that reaches
/// beyond the tokens; nothing is written then.
void head_distance(const HeadDistanceInputs& x, const HeadDistanceOutputs& out, const HeadDistanceOptions& options = {},
                   Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/head_distance.inl>
#endif
