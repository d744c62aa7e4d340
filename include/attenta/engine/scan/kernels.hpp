#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/engine/scan/job.hpp>

ATTENTA_BEGIN

namespace scan {

ATTENTA_DECLARE_KERNEL(TaskFunction, scan_task)

}  // namespace scan

ATTENTA_END
