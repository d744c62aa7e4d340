// Keys that no query can prefer to all others. Brody et al. 2023, "On the Expressivity Role of LayerNorm in Transformers' Attention",
// section 4.
//
//   distance   = Euclidean distance from a key to the convex hull of the other keys of its head, −1 where it is alone
//   selectable = distance > margin, or alone;   unselectable_share = mean of 1 − selectable
//
// A key within that hull never has the single highest score, whatever the query. Distances up to 1e-6 of that to the farthest key are 0.
// The paper asks a linear programme with bounded queries; the distance is its form without bounds. By Wolfe 1976, "Finding the nearest
// point in a polytope": some D steps of Tk·D and D³ for each key, in double precision; compiled library only.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

namespace analysis {

/// What is done to keys first: k − mean over channels, k sqrt(D) / |k|, or the one and then the other.
enum class KeyNorm : std::uint8_t { none, project, scale, layernorm };
constexpr std::array<std::string_view, 4> names_of(KeyNorm) { return {"none", "project", "scale", "layernorm"}; }

struct SelectableKeysInputs {
    Heads<const float> k;

    static void list(auto&& visit, auto& x) { visit("k", x.k, "[Hkv, Tk, D]"); }
};

struct SelectableKeysOptions {
    KeyNorm normalize = KeyNorm::none;
    double margin = 1e-6;  ///< a key farther from the hull is selectable, 0 or more

    static void fields(auto&& visit, auto& o) {
        visit("normalize", o.normalize, "none, project, scale or layernorm");
        visit("margin", o.margin, "a key farther from the hull of the others is selectable");
    }
};

struct SelectableKeysOutputs {
    float* distance = nullptr;
    std::int64_t* selectable = nullptr;
    float* unselectable_share = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("distance", out.distance, "[Hkv, Tk]");
        visit("selectable", out.selectable, "[Hkv, Tk]");
        visit("unselectable_share", out.unselectable_share, "[Hkv]");
    }
};

/// Throws Error on shapes and options that do not fit, numbers that are not finite, and a key that is 0, after centring where there is
/// one, with scale or layernorm; nothing is written then.
void selectable_keys(const SelectableKeysInputs& x, const SelectableKeysOutputs& out,
                     const SelectableKeysOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END
