#include <attenta/sparse/patterns/block_rag.hpp>
#include <attenta/sparse/patterns/local_chunk.hpp>
#include <attenta/sparse/patterns/star.hpp>

#include "../sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

std::vector<Mechanism> pattern_rows() {
    return {
        sparse_row<&local_chunk>({.name = "local_chunk",
                                  .summary = "each chunk of tokens reads itself and its edges",
                                  .source = "Hofstätter et al. 2020, TKL",
                                  .cost = "T·(chunk+2·overlap)·(D+Dv) time"}),
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
