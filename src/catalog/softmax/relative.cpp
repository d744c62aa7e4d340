#include <attenta/softmax/relative/disentangled.hpp>
#include <attenta/softmax/relative/persistent_memory.hpp>
#include <attenta/softmax/relative/rcmha.hpp>
#include <attenta/softmax/relative/relative_interaction.hpp>
#include <attenta/softmax/relative/relative_shaw.hpp>
#include <attenta/softmax/relative/relative_xl.hpp>

#include <vector>

#include "../softmax_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_disentangled(Arguments& args, Context& context) {
    call_softmax<&disentangled>(args, context,
                                [](Arguments& to, const DisentangledInputs& x, DisentangledOutputs& out) {
                                    out.index = to.output<std::int64_t>("index", {x.q.tokens, x.kv.length(0)});
                                });
}

}  // namespace

std::vector<Mechanism> relative_rows() {
    return {
        softmax_row<&relative_shaw>({.name = "relative_shaw",
                                     .summary = "learned vectors of clipped distances, added to keys and to values",
                                     .source = "Shaw, Uszkoreit, Vaswani 2018",
                                     .cost = "as softmax and Hq Tq C D; with rel_v twice the scores"}),
        softmax_row<&relative_interaction>(
            {.name = "relative_interaction",
             .summary = "distances that multiply scores or interact with queries and keys, four methods",
             .source = "Huang et al. 2020",
             .cost = "methods 1, 2 as softmax; 3 Hq Tq Tk D more; 4 (Hq Tq + Hkv Tk) C D more"}),
        softmax_row<&relative_xl>({.name = "relative_xl",
                                   .summary = "scores with sinusoids of the distance, biases of content and position",
                                   .source = "Dai et al. 2019, Transformer-XL",
                                   .cost = "as softmax and Hq Tq (Tq + Tk) D"}),
        softmax_row<&rcmha>({.name = "rcmha",
                             .summary = "Transformer-XL's scores of convolved queries, keys and values",
                             .source = "Permata et al. 2023",
                             .cost = "as relative_xl and H (Tq + Tk) D C"}),
        softmax_row<&disentangled>({.name = "disentangled",
                                    .summary = "content to content, content to position, position to content (DeBERTa)",
                                    .source = "He et al. 2021; He et al. 2022",
                                    .cost = "as softmax and 2 H (Tq + Tk) span D",
                                    .more_outputs = ", (index [Tq, Tk])"},
                                   call_disentangled),
        softmax_row<&persistent_memory>({.name = "persistent_memory",
                                         .summary = "learned keys and values beside those of the context",
                                         .source = "Sukhbaatar et al. 2019",
                                         .cost = "time Hq Tq (Tk + N) (D + Dv)"}),
    };
}

}  // namespace rows

ATTENTA_END
