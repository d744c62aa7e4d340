// The texts that span what a head writes. Gandelsman et al. 2024, "Interpreting CLIP's Image Representation via Text-Based Decomposition",
// algorithm 1 (TextSpan).
//
//   texts are projected on the first `rank` right singular vectors of data;   data is centred;   `picks` times:
//   spread_m = standard deviation (N − 1) over the rows of data · text_m,   r = the text of the largest spread
//   reconstruction += (data · r / r · r) rᵀ from the mean on;   that is taken from data, and (text_m · r / r · r) r from all texts
//   explained = 1 − what is left of data's sum of squares
//
// A chosen text is 0 from then on, and never chosen again. Time N·e² + picks·N·M·e, in double precision; compiled library only.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace analysis {

struct TextspanInputs {
    DenseTensor<const float, 2> data;  ///< what a head contributes to N images
    DenseTensor<const float, 2> text;

    static void list(auto&& visit, auto& x) {
        visit("data", x.data, "[N, e]");
        visit("text", x.text, "[M, e]");
    }
};

struct TextspanOptions {
    std::int64_t rank = 80;  ///< singular vectors; those that there are if they are fewer
    std::int64_t picks = 1;  ///< texts, 1 to min(M, e)

    static void fields(auto&& visit, auto& o) {
        visit("rank", o.rank, "singular vectors of the data that texts are projected on");
        visit("picks", o.picks, "texts that are chosen");
    }
};

struct TextspanOutputs {
    std::int64_t* chosen = nullptr;
    float *spread = nullptr, *explained = nullptr, *reconstruction = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("chosen", out.chosen, "[S]");
        visit("spread", out.spread, "[S]");
        visit("explained", out.explained, "[S]");
        visit("reconstruction", out.reconstruction, "[N, e]");
    }
    static void sizes(auto&& set, const TextspanInputs&, const TextspanOptions& o) { set("S", o.picks); }
};

/// Throws Error on shapes and options that do not fit, fewer than two rows of data, numbers that are not finite, and where fewer texts
/// than picks have a spread; nothing is written then.
void textspan(const TextspanInputs& x, const TextspanOutputs& out, const TextspanOptions& options,
              Context& context = default_context());

}  // namespace analysis

ATTENTA_END
