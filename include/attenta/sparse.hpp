// Sparse attention: queries read the keys that a pattern, a list or a selection leaves.
#pragma once

#include <attenta/sparse/content/combiner.hpp>
#include <attenta/sparse/content/head_gating.hpp>
#include <attenta/sparse/content/landmark.hpp>
#include <attenta/sparse/content/routing.hpp>
#include <attenta/sparse/content/social.hpp>
#include <attenta/sparse/content/sparsek.hpp>
#include <attenta/sparse/documents/maxsim.hpp>
#include <attenta/sparse/documents/rope_reencode.hpp>
#include <attenta/sparse/indexers/dsa.hpp>
#include <attenta/sparse/lists/block_sparse.hpp>
#include <attenta/sparse/lists/csr.hpp>
#include <attenta/sparse/pages/moba.hpp>
#include <attenta/sparse/pages/quest.hpp>
