// The few-query loop is compiled for each number of rows; three objects share them.
#pragma once

#include <attenta/engine/attention/job.hpp>
#include <attenta/engine/few/scratch.hpp>
#include <attenta/engine/kernel.hpp>

ATTENTA_BEGIN

namespace attention {

ATTENTA_DECLARE_KERNEL(TaskFunction, few_task_1_2)
ATTENTA_DECLARE_KERNEL(TaskFunction, few_task_4_8)
ATTENTA_DECLARE_KERNEL(TaskFunction, few_task_16_64)

inline TaskFunction few_task(const Task& task, Isa isa) {
    const std::int64_t rows = padded_rows(task.row_end - task.row_begin);
    return rows <= 2 ? few_task_1_2(isa) : rows <= 8 ? few_task_4_8(isa) : few_task_16_64(isa);
}

}  // namespace attention

ATTENTA_END
