// Sparse attention: queries read the keys that a pattern, a list or a selection leaves.
#pragma once

#include <attenta/sparse/indexers/dsa.hpp>
#include <attenta/sparse/lists/block_sparse.hpp>
#include <attenta/sparse/lists/csr.hpp>
#include <attenta/sparse/pages/moba.hpp>
#include <attenta/sparse/pages/quest.hpp>
#include <attenta/sparse/retrieval/infini_retrieval.hpp>
#include <attenta/sparse/retrieval/knn_memory.hpp>
#include <attenta/sparse/retrieval/loki.hpp>
#include <attenta/sparse/retrieval/modality_adaptive.hpp>
#include <attenta/sparse/retrieval/retrieval.hpp>
#include <attenta/sparse/retrieval/retrieval_index.hpp>
#include <attenta/sparse/retrieval/triangular_spans.hpp>
