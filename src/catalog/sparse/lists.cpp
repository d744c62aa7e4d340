#include <attenta/sparse/lists/block_sparse.hpp>
#include <attenta/sparse/lists/csr.hpp>

#include "../sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

std::vector<Mechanism> list_rows() {
    return {
        sparse_row<&csr>({.name = "csr",
                          .summary = "attention over given lists of keys",
                          .source = "the engine's own form of lists",
                          .cost = "nnz·(D+Dv) time"}),
        sparse_row<&block_sparse>({.name = "block_sparse",
                                   .summary = "attention over given blocks of keys for each block of queries",
                                   .source = "the engine's own form of blocks",
                                   .cost = "nnz·block_q·block_k·(D+Dv) time"}),
    };
}

}  // namespace rows

ATTENTA_END
