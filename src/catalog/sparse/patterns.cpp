#include <attenta/sparse/patterns/bigbird.hpp>
#include <attenta/sparse/patterns/block_rag.hpp>
#include <attenta/sparse/patterns/fixed.hpp>
#include <attenta/sparse/patterns/head_strides.hpp>
#include <attenta/sparse/patterns/hierarchical_document.hpp>
#include <attenta/sparse/patterns/local_chunk.hpp>
#include <attenta/sparse/patterns/local_global.hpp>
#include <attenta/sparse/patterns/star.hpp>
#include <attenta/sparse/patterns/strided.hpp>
#include <attenta/sparse/patterns/token_types.hpp>

#include "../sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_token_types(Arguments& args, Context& context) {
    const auto x = args.inputs<TokenTypesInputs>();
    const auto options = args.options<TokenTypesOptions>();
    const std::int64_t heads = x.kv.heads, keys = x.kv.length(0);
    const TokenTypesOutputs out{sparse_outputs(args, x.q, x.kv),
                                args.output<std::int64_t>("last_reader", {heads, keys}),
                                args.output<std::int64_t>("alive", {heads, keys})};
    token_types(x, out, options, context);
}

}  // namespace

std::vector<Mechanism> pattern_rows() {
    return {
        sparse_row<&strided>({.name = "strided",
                              .summary = "a window and every stride-th key before it",
                              .source = "Child et al. 2019, Sparse Transformers, section 4.3",
                              .cost = "T·(window+T/stride)·(D+Dv) time"}),
        sparse_row<&fixed>({.name = "fixed",
                            .summary = "the own block and a few summary columns of every block",
                            .source = "Child et al. 2019, Sparse Transformers, section 4.3",
                            .cost = "T·(stride+c·T/stride)·(D+Dv) time"}),
        sparse_row<&local_global>({.name = "local_global",
                                   .summary = "a window, dilated or not, and tokens that read and are read by all",
                                   .source = "Beltagy et al. 2020, Longformer; Dai et al. 2022",
                                   .cost = "T·(2·window+1+G)·(D+Dv)+G·T·(D+Dv) time"}),
        sparse_row<&local_chunk>({.name = "local_chunk",
                                  .summary = "each chunk of tokens reads itself and its edges",
                                  .source = "Hofstätter et al. 2020, TKL",
                                  .cost = "T·(chunk+2·overlap)·(D+Dv) time"}),
        sparse_row<&bigbird>(
            {.name = "bigbird",
             .summary = "blocks read their neighbours, the first and last blocks, and given random ones",
             .source = "Zaheer et al. 2020, Big Bird",
             .cost = "T·block·(window+2·global+r)·(D+Dv) time"}),
        sparse_row<&head_strides>({.name = "head_strides",
                                   .summary = "cross-attention whose heads read a share of the source each",
                                   .source = "Huang et al. 2021, Hepos, section 3.2",
                                   .cost = "Tq·Tk/stride·(D+Dv) time"}),
        sparse_row<&block_rag>({.name = "block_rag",
                                .summary = "passages read themselves, the last block reads everything",
                                .source = "Ma et al. 2024, Block-Attention for Efficient RAG",
                                .cost = "(Σ length²+last·T)·(D+Dv) time"}),
        sparse_row<&star>({.name = "star",
                           .summary = "blocks of a context read themselves and an anchor, later tokens read everything",
                           .source = "Acharya et al. 2024, Star Attention, section 2",
                           .cost = "(context·(block+anchor)+(Tk-context)·Tk)·(D+Dv) time"}),
        sparse_row<&hierarchical_document>({.name = "hierarchical_document",
                                            .summary = "tokens read the members of their groups, level by level",
                                            .source = "He et al. 2024, HDT",
                                            .cost = "Σ group sizes·(D+Dv) time"}),
        sparse_row<&token_types>({.name = "token_types",
                                  .summary = "a key is read for ever, to the next global token, or for a window",
                                  .source = "Deng et al. 2025, Neural Attention Search, section 3",
                                  .cost = "visible·(D+Dv) per query",
                                  .more_outputs = ", last_reader [Hkv, Tk], alive [Hkv, Tk]"},
                                 call_token_types),
    };
}

}  // namespace rows

ATTENTA_END
