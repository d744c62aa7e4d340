// What one instruction set provides: everything that src/backend_<isa>.cpp exports.
#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/engine/attention/job.hpp>
#include <attenta/engine/scan/job.hpp>

#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

struct Backend {
    Isa isa;

    // Engine loops. `scratch` belongs to the slot.
    void (*tile_task)(const attention::Job& job, const attention::Task& task, std::byte* scratch);
    void (*rows_task)(const attention::Job& job, const attention::Task& task, std::byte* scratch);
    void (*merge_row)(const float* o_parts, std::int64_t o_step, const float* max, const float* sum, std::int64_t step,
                      std::int64_t parts, std::int64_t dim_v, float* o, float* lse);

    void (*scan_task)(const scan::Job& job, const scan::Task& task, std::byte* scratch);

    // Edits of scores and weights.
    TileFunction soft_cap, alibi, bias, column_sums, last_rows;

    // Maps of rows.
    scan::FeatureFunction elu1, relu, squared_relu, exp_features, softmax_features, cos_features, l2_norm, rotate,
        one_minus_exp;
    scan::FeatureRowsFunction random_features;

    // Element maps: y[i] = f(x[i]).
    void (*exp)(const float* x, float* y, std::int64_t n);
    void (*tanh)(const float* x, float* y, std::int64_t n);
    /// o = (o + skip · x) · silu(z); z may be null, skip is [n] or, with skip_stride 0, one number.
    void (*skip_and_gate)(float* o, const float* x, const float* skip, std::int64_t skip_stride, const float* z,
                          std::int64_t n);
};

/// The backend of active_isa(), and any available one.
const Backend& active_backend();
const Backend& backend_of(Isa isa);

ATTENTA_END
