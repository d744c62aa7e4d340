// Which heads a model can do without, from outputs of heads and the gradients there. Michel et al. 2019, "Are Sixteen Heads Really
// Better than One?", eq. 2.
//
//   c_nlht = o_nlht · grad_o_nlht, 0 at masked tokens: the derivative of the loss by the head's mask variable
//   importance_lh = mean_n |Σ_t c_nlht| (per sample, the paper), or Σ_nt |c_nlht| / unmasked tokens (per token, the published code)
//   normalize: importance_lh /= sqrt(Σ_h' importance_lh'²) + 1e-20
//   order = heads l·H + h by importance, ascending;   head_mask: the first `prune` of them are 0, but the `min_heads` most
//   important ones of every layer, of equal ones the later
//
// Products are summed in double precision, because they may cancel. Time N·L·H·T·Dv.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

namespace analysis {

enum class ImportancePer : std::uint8_t { sample, token };
constexpr std::array<std::string_view, 2> names_of(ImportancePer) { return {"sample", "token"}; }

struct HeadImportanceInputs {
    DenseTensor<const float, 5> o, grad_o;
    DenseTensor<const std::int64_t, 2> token_mask = {};  ///< other than 0: a real token

    static void list(auto&& visit, auto& x) {
        visit("o", x.o, "[N, L, H, T, Dv]");
        visit("grad_o", x.grad_o, "[N, L, H, T, Dv]");
        visit("token_mask", x.token_mask, "[N, T]", Input::optional);
    }
};

struct HeadImportanceOptions {
    ImportancePer per = ImportancePer::sample;
    bool normalize = true;       ///< the importances of a layer have length 1
    std::int64_t prune = 0;      ///< heads to mask; all that may be if there are fewer
    std::int64_t min_heads = 0;  ///< of every layer, never masked

    static void fields(auto&& visit, auto& o) {
        visit("per", o.per, "sample or token: what absolute values are taken of");
        visit("normalize", o.normalize, "the importances of a layer have length 1");
        visit("prune", o.prune, "heads to mask");
        visit("min_heads", o.min_heads, "heads of every layer that stay");
    }
};

struct HeadImportanceOutputs {
    float* importance = nullptr;
    std::int64_t *order = nullptr, *head_mask = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("importance", out.importance, "[L, H]");
        visit("order", out.order, "[LH]");
        visit("head_mask", out.head_mask, "[L, H]");
    }
    static void sizes(auto&& set, const HeadImportanceInputs& x, const HeadImportanceOptions&) {
        set("LH", x.o.count(1, 3));
    }
};

/// Throws Error on shapes and options that do not fit, numbers that are not finite, and a mask without a token; nothing is written
/// then.
void head_importance(const HeadImportanceInputs& x, const HeadImportanceOutputs& out,
                     const HeadImportanceOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/head_importance.inl>
#endif
