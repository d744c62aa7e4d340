#pragma once

#include <attenta/engine/elementwise/request.hpp>
#include <attenta/engine/kernel.hpp>

ATTENTA_BEGIN

namespace detail {

/// Parameters of the task, whose rows are v and g.
struct HgrnTask {
    bool tied;
};
ATTENTA_DECLARE_KERNEL(elementwise::TaskFunction, hgrn_task)

}  // namespace detail

ATTENTA_END
