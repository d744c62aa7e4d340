#pragma once

#include <attenta/engine/tile/kernels.hpp>
#include <attenta/engine/tile/loop.hpp>

#include <cstddef>

ATTENTA_BEGIN

namespace attention {

template <class Arch>
void run_tiles(const Job& job, const Task& task, std::byte* scratch) {
    if (job.known)
        TileLoop<Arch, KnownStatistics<Arch>>(job, task, scratch).run();
    else
        TileLoop<Arch, OnlineSoftmax<Arch>>(job, task, scratch).run();
}

ATTENTA_DEFINE_KERNEL(TaskFunction, tile_task, &run_tiles<simd::NativeArch>)

}  // namespace attention

ATTENTA_END
