// Sparse attention: queries read the keys that a pattern, a list or a selection leaves.
#pragma once

#include <attenta/sparse/indexers/compressed.hpp>
#include <attenta/sparse/indexers/dsa.hpp>
#include <attenta/sparse/indexers/msa.hpp>
#include <attenta/sparse/indexers/qsa.hpp>
#include <attenta/sparse/lists/block_sparse.hpp>
#include <attenta/sparse/lists/csr.hpp>
#include <attenta/sparse/pages/minference.hpp>
#include <attenta/sparse/pages/moba.hpp>
#include <attenta/sparse/pages/nsa.hpp>
#include <attenta/sparse/pages/quest.hpp>
#include <attenta/sparse/pages/xattention.hpp>
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
