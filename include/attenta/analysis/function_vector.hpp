// A task as a vector of the residual stream, from the heads that carry it. Todd et al. 2024, "Function Vectors in Large Language Models",
// eq. 4-6; weighted: Saglam et al. 2025, "Learning Task Representations from In-Context Learning".
//
//   mean_lh = mean over prompts of the output of head (l, h) at the last token, before W_O
//   top: weight = 1 for the `top` heads of the largest effect, a mean over its samples, 0 for others;   weighted: as it is given
//   vector = Σ_lh weight_lh mean_lh W_O,lh, without output biases
//
// `effect` are indirect effects: what a head's mean output, put in its place, adds to the probability of the right answer. Of equal ones
// the lower index comes first. Time N·L·H·Dv + top·Dv·d.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

namespace analysis {

enum class HeadChoice : std::uint8_t { top, weighted };
constexpr std::array<std::string_view, 2> names_of(HeadChoice) { return {"top", "weighted"}; }

struct FunctionVectorInputs {
    DenseTensor<const float, 4> o, w_o;
    DenseTensor<const float, 3> effect = {};  ///< mode top
    DenseTensor<const float, 2> weight = {};  ///< mode weighted

    static void list(auto&& visit, auto& x) {
        visit("o", x.o, "[N, L, H, Dv]");
        visit("w_o", x.w_o, "[L, H, Dv, d]");
        visit("effect", x.effect, "[Ne, L, H]", Input::optional);
        visit("weight", x.weight, "[L, H]", Input::optional);
    }
};

struct FunctionVectorOptions {
    HeadChoice mode = HeadChoice::top;
    std::int64_t top = 10;  ///< heads of mode top, at most L·H

    static void fields(auto&& visit, auto& o) {
        visit("mode", o.mode, "top or weighted: heads of the largest effect, or all heads by their weights");
        visit("top", o.top, "heads of mode top");
    }
};

struct FunctionVectorOutputs {
    float* vector = nullptr;
    std::int64_t* heads = nullptr;  ///< layer and head, the best first; none if weighted
    float* mean = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("vector", out.vector, "[d]");
        visit("heads", out.heads, "[S, 2]");
        visit("mean", out.mean, "[L, H, Dv]");
    }
    /// Not of a `top` that is refused.
    static void sizes(auto&& set, const FunctionVectorInputs& x, const FunctionVectorOptions& o) {
        if (o.mode == HeadChoice::weighted)
            set("S", 0);
        else if (o.top > 0 && o.top <= x.o.count(1, 3))
            set("S", o.top);
    }
};

/// Throws Error on shapes and options that do not fit, without what the mode needs, and on numbers that are not finite; nothing is
/// written then.
void function_vector(const FunctionVectorInputs& x, const FunctionVectorOutputs& out,
                     const FunctionVectorOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/function_vector.inl>
#endif
