// Works of sparse attention that no call of a function on q, K and V is: given lists, states that go on, other tensors.
#pragma once

#include "bench/sparse/works.hpp"

namespace bench {

/// The newest 512 keys.
SparseWork window(const Problem& problem, attenta::Context& context);
/// 2 % of the keys by chance, a list for each K/V head.
SparseWork csr(const Problem& problem, attenta::Context& context);
/// 10 % of the causal blocks of 64 × 64 by chance, the same for all heads.
SparseWork block_sparse(const Problem& problem, attenta::Context& context);
/// The newest 2048 keys, and 2048 of all others as a memory.
SparseWork knn_memory(const Problem& problem, attenta::Context& context);
/// `retrieval` of 100 keys through an index, on keys and queries of their own: a sixteenth as many other queries train it. Keys
/// have 16 directions and some noise, queries 16 others and a shift. The heads have the same keys, so that one index is built.
SparseWork retrieval_index(const Problem& problem, attenta::Context& context);
/// 64 clusters of 128 tokens; keys are the queries.
SparseWork routing(const Problem& problem, attenta::Context& context);
/// Steps of text behind a prompt of images, of which half stays and a fifth is a core.
SparseWork modality_adaptive(const Problem& problem, attenta::Context& context);
/// The queries are the chunk, the spans of the past are known.
SparseWork triangular_spans(const Problem& problem, attenta::Context& context);
/// The queries are the question. No values.
SparseWork infini_retrieval(const Problem& problem, attenta::Context& context);
/// Documents of 128 vectors. No values.
SparseWork maxsim(const Problem& problem, attenta::Context& context);
/// All keys, in place: they are read and written.
SparseWork rope_reencode(const Problem& problem, attenta::Context& context);

}  // namespace bench
