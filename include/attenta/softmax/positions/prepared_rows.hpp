// Queries and keys normalised and rotated into memory of a call, for mechanisms that take them as they come from a projection.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/rotary/angles.hpp>
#include <attenta/engine/rotary/kernels.hpp>
#include <attenta/softmax/positions/rope_rows.hpp>
#include <attenta/softmax/row_norms.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Throws Error unless frequencies can be made of a base.
inline void check_rotary_base(const char* f, const char* name, double base) {
    if (!std::isfinite(base) || base <= 0)
        fail(f, std::string(name) + " is " + std::to_string(base) + ", needs a finite number above 0");
}

struct RowPreparation {
    VectorNorm norm = VectorNorm::none;
    float eps = 0;
    Matrices<const float> weight = {};         ///< [1 or heads, D] of the norm
    std::span<const double> frequencies = {};  ///< of the rotation of all channels; none: there is none
    bool interleaved = false;
};

/// to = x, normalised, then rotated; token t stands at first + t.
inline void prepare_rows(const Heads<const float>& x, std::int64_t first, const RowPreparation& how,
                         const Heads<float>& to, Context& context) {
    constexpr std::int64_t together = 16;  // tokens of a task
    const auto pairs = static_cast<std::int64_t>(how.frequencies.size());
    auto& room = context.kept<RotaryScratch>().angles;
    room.resize(static_cast<std::size_t>(2 * pairs * context.executor().concurrency()));
    const rotary::RotateRow rotate = rotary::rotate_rows(active_isa()).of(Dtype::f32);
    const NormalizeRow normalize = normalize_row();
    run_tasks(context.executor(), ceil_div(x.tokens, together), [&](std::int64_t task, int slot) {
        float* const angles = room.data() + slot * 2 * pairs;
        for (std::int64_t t = task * together; t < std::min(x.tokens, (task + 1) * together); ++t) {
            if (pairs > 0)
                rotary::set_angles(how.frequencies, static_cast<double>(first + t), 1, how.interleaved, angles);
            for (std::int64_t h = 0; h < x.heads; ++h) {
                const float* from = x.row(h, t);
                if (how.norm != VectorNorm::none || pairs == 0) {
                    const float* const weight =
                        how.weight ? how.weight.data + (how.weight.rows == 1 ? 0 : h) * how.weight.row_stride : nullptr;
                    normalize(from, x.dim, how.norm, how.eps, weight, nullptr, to.row(h, t));
                    from = to.row(h, t);
                }
                if (pairs > 0) rotate(from, angles, pairs, how.interleaved, x.dim, to.row(h, t));
            }
        }
    });
}

/// Queries and keys of a call, which are made anew.
struct PreparedMemory {
    std::vector<double> frequencies;
    std::vector<float> q, k;

    Heads<float> queries(std::int64_t heads, std::int64_t tokens, std::int64_t dim) {
        return room(q, heads, tokens, dim);
    }
    Heads<float> keys(std::int64_t heads, std::int64_t tokens, std::int64_t dim) { return room(k, heads, tokens, dim); }

private:
    static Heads<float> room(std::vector<float>& x, std::int64_t heads, std::int64_t tokens, std::int64_t dim) {
        x.resize(static_cast<std::size_t>(heads * tokens * dim));
        return hnd(x.data(), heads, tokens, dim);
    }
};

}  // namespace detail

ATTENTA_END
