#pragma once

#include <attenta/engine/few/loop.hpp>

#include <cstddef>

ATTENTA_BEGIN

namespace attention {

/// For tasks of Rows padded rows, or of one of the others.
template <class Arch, int Rows, int... Others>
void run_few(const Job& job, const Task& task, std::byte* scratch) {
    if constexpr (sizeof...(Others) > 0)
        if (padded_rows(task.row_end - task.row_begin) != Rows) return run_few<Arch, Others...>(job, task, scratch);
    FewLoop<Arch, Rows>(job, task, scratch).run();
}

}  // namespace attention

ATTENTA_END
