// What the benchmarks of sparse attention run.
#pragma once

#include "bench/softmax/problem.hpp"
#include "bench/sparse/names.hpp"

#include <attenta/core/context.hpp>
#include <attenta/engine/lists/key_lists.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// A mechanism on the tensors of a problem.
struct SparseWork {
    std::function<void(std::size_t copy)> run;
    std::function<void(std::size_t copy)> select = {};  ///< the selection alone, where there is one
    double pairs = 0;                                   ///< visible pairs of a query and a key, of all query heads
    double rows = 0;                                    ///< rows of K that are read
    bool values = true;                                 ///< rows of V are read, as many
    double select_flops = 0, select_bytes = 0;          ///< what the selection computes and reads
    std::vector<std::pair<std::string, double>> figures = {};  ///< further counters
    std::shared_ptr<const void> kept = {};                     ///< what it reads beside the problem
    std::shared_ptr<const attenta::KeyLists> lists = {};       ///< its keys, where others are given the same
};

struct SparseBench {
    SparseCase name;
    std::function<SparseWork(const Problem& problem, attenta::Context& context)> prepare;
    bool for_others = false;  ///< other implementations are given its keys as a mask
};

std::vector<SparseBench> sparse_works();

}  // namespace bench
