// Rows that turn by rotary positions, for mechanisms that rotate queries and keys of their own.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/rotary/angles.hpp>
#include <attenta/engine/rotary/kernels.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct RotaryScratch {
    std::vector<float> angles;  ///< a row for each thread
};

/// angles(token, room) gives the cosines and sines of a token, 2 · pairs numbers; `to` may be x.
template <class T, class Angles>
void rotate_tokens(const Heads<const T>& x, const Heads<T>& to, std::int64_t pairs, bool interleaved, Context& context,
                   Angles&& angles) {
    constexpr std::int64_t together = 16;  // tokens of a task
    auto& room = context.kept<RotaryScratch>().angles;
    room.resize(static_cast<std::size_t>(2 * pairs * context.executor().concurrency()));
    const rotary::RotateRow rotate = rotary::rotate_rows(active_isa()).of(dtype_of<T>);
    run_tasks(context.executor(), ceil_div(x.tokens, together), [&](std::int64_t task, int slot) {
        float* const own = room.data() + slot * 2 * pairs;
        for (std::int64_t t = task * together; t < std::min(x.tokens, (task + 1) * together); ++t) {
            const float* const table = angles(t, own);
            for (std::int64_t h = 0; h < x.heads; ++h)
                rotate(x.row(h, t), table, pairs, interleaved, x.dim, to.row(h, t));
        }
    });
}

}  // namespace detail

ATTENTA_END
