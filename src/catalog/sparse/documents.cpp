#include <attenta/sparse/documents/maxsim.hpp>
#include <attenta/sparse/documents/rope_reencode.hpp>

#include "../sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_maxsim(Arguments& args, Context& context) {
    const auto x = args.inputs<MaxsimInputs>();
    const auto options = args.options<MaxsimOptions>();
    const std::int64_t documents = std::max<std::int64_t>(static_cast<std::int64_t>(x.doc_ptr.size()) - 1, 0);
    maxsim(x, {args.output<float>("score", {documents}), args.output<std::int64_t>("argmax", {documents, x.q.rows})},
           options, context);
}

void call_rope_reencode(Arguments& args, Context& context) {
    const auto x = args.inputs<RopeReencodeInputs>();
    const auto options = args.options<RopeReencodeOptions>();
    rope_reencode(x, args.output("k_new", x.k.heads, x.k.tokens, x.k.dim), options, context);
}

}  // namespace

std::vector<Mechanism> document_rows() {
    return {
        with_outputs(sparse_row<&maxsim>({.name = "maxsim",
                                          .summary = "for each query vector the best of a document's, summed",
                                          .source = "Khattab and Zaharia 2020, ColBERT, eq. 3",
                                          .cost = "Tq·N·D time"},
                                         call_maxsim),
                     "score [B], argmax [B, Tq]"),
        with_outputs(
            sparse_row<&rope_reencode>({.name = "rope_reencode",
                                        .summary = "keys turned from one rotary position to another",
                                        .source = "Ma et al. 2024, Block-Attention for Efficient RAG, section 2",
                                        .cost = "T·R time per head"},
                                       call_rope_reencode),
            "k_new [H, T, D]"),
    };
}

}  // namespace rows

ATTENTA_END
