#pragma once

#include <attenta/engine/attention/job.hpp>
#include <attenta/engine/kernel.hpp>

ATTENTA_BEGIN

namespace attention {

ATTENTA_DECLARE_KERNEL(TaskFunction, tile_task)

}  // namespace attention

ATTENTA_END
