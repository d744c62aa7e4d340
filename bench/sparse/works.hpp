// What the benchmarks of sparse attention run.
#pragma once

#include "bench/softmax/problem.hpp"
#include "bench/sparse/names.hpp"

#include <attenta/core/context.hpp>
#include <attenta/engine/lists/key_lists.hpp>

#include <cstddef>
#include <functional>
#include <vector>

namespace bench {

/// A mechanism on the tensors of a problem.
struct SparseWork {
    std::function<void(std::size_t copy)> run;
    std::function<void(std::size_t copy)> select = {};  ///< the selection alone, where there is one
    double pairs = 0;                                   ///< visible pairs of a query and a key, of all query heads
    double rows = 0;                                    ///< rows of K that are read, those of V are as many
    double select_flops = 0, select_bytes = 0;          ///< what the selection computes and reads
};

struct SparseBench {
    SparseCase name;
    SparseWork (*prepare)(const Problem& problem, attenta::Context& context);
};

std::vector<SparseBench> sparse_works();

}  // namespace bench
