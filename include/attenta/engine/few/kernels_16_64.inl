#pragma once

#include <attenta/engine/few/kernels.hpp>
#include <attenta/engine/few/run.hpp>

ATTENTA_BEGIN

namespace attention {

ATTENTA_DEFINE_KERNEL(TaskFunction, few_task_16_64, &run_few<simd::NativeArch, 16, 32, 64>)

}  // namespace attention

ATTENTA_END
