#pragma once

#include <attenta/engine/few/kernels.hpp>
#include <attenta/engine/few/run.hpp>

ATTENTA_BEGIN

namespace attention {

ATTENTA_DEFINE_KERNEL(TaskFunction, few_task_4_8, &run_few<simd::NativeArch, 4, 8>)

}  // namespace attention

ATTENTA_END
