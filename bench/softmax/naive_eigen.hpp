// What a competent user of Eigen writes: softmax(scale · Q Kᵀ) V with matrix products, blocked by rows so that the
// scores stay in cache and masked columns are left out. The baseline of the benchmarks.
#pragma once

#include <attenta/core/view.hpp>

#include <string>

namespace bench {

/// q [Hq, Tq, D], k [Hkv, Tk, D], v [Hkv, Tk, Dv], o [Hq, Tq, Dv]; queries stand at the end of the keys.
void naive_eigen(attenta::Heads<const float> q, attenta::Heads<const float> k, attenta::Heads<const float> v,
                 attenta::Heads<float> o, bool causal);

std::string naive_eigen_version();

}  // namespace bench
