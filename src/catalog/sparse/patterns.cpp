#include <attenta/sparse/patterns/bigbird.hpp>
#include <attenta/sparse/patterns/block_rag.hpp>
#include <attenta/sparse/patterns/fixed.hpp>
#include <attenta/sparse/patterns/head_strides.hpp>
#include <attenta/sparse/patterns/local_chunk.hpp>
#include <attenta/sparse/patterns/star.hpp>
#include <attenta/sparse/patterns/strided.hpp>

#include "../sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

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
    };
}

}  // namespace rows

ATTENTA_END
