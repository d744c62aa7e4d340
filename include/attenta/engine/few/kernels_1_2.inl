#pragma once

#include <attenta/engine/few/kernels.hpp>
#include <attenta/engine/few/run.hpp>

ATTENTA_BEGIN

namespace attention {

ATTENTA_DEFINE_KERNEL(TaskFunction, few_task_1_2, &run_few<simd::NativeArch, 1, 2>)

}  // namespace attention

ATTENTA_END
