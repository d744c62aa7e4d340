#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/engine/scan/kernels.hpp>
#include <attenta/engine/scan/loop.hpp>

#include <cstddef>

ATTENTA_BEGIN

namespace scan {

template <class Arch>
void run_scan(const Job& job, const Task& task, std::byte* scratch) {
    const FlushToZero flush;
    run_chunks<Arch>(job, task, scratch);
}

ATTENTA_DEFINE_KERNEL(TaskFunction, scan_task, &run_scan<simd::NativeArch>)

}  // namespace scan

ATTENTA_END
