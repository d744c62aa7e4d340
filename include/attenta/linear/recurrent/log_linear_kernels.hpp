#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// The state of a level in a step, rows [dim] of `columns`: it decays, the group's queries read it, and it is written to its
/// new level or added to it.
struct LevelStep {
    const float* from = nullptr;
    float* to = nullptr;
    std::int64_t stride = 0, dim = 0, columns = 0, group = 1;
    float decay = 1;
    bool add = false;
    const float* q = nullptr;  ///< [group, dim]
    float* o = nullptr;        ///< [group, columns], added to
};
using LevelStepFunction = void (*)(const LevelStep& step);
ATTENTA_DECLARE_KERNEL(LevelStepFunction, log_linear_level)

}  // namespace detail

ATTENTA_END
