#pragma once

#include <attenta/engine/select/kernels.hpp>
#include <attenta/engine/select/scores.hpp>
#include <attenta/engine/select/top.hpp>

#include <cstddef>

ATTENTA_BEGIN

namespace select {

template <class Arch>
void run_scores(const Job& job, const ScoreTask& task, std::byte* scratch) {
    ScoreLoop<Arch>(job, task, scratch).run();
}

ATTENTA_DEFINE_KERNEL(ScoreFunction, score_keys, &run_scores<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(TopFunction, top_of_row, &choose_top<simd::NativeArch>)

}  // namespace select

ATTENTA_END
