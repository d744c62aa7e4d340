#pragma once

#include <attenta/core/saturating.hpp>
#include <attenta/linear/recurrent/bi_wkv.hpp>
#include <attenta/linear/recurrent/wkv_kernels.hpp>

#include <cstdint>
#include <string>

ATTENTA_BEGIN

namespace detail {

inline void check_bi_wkv(const BiWkvInputs& x, const BiWkvOptions& options) {
    const char* f = "bi_wkv";
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    if (options.distance_offset != 0 && options.distance_offset != 1)
        fail(f, "distance_offset is " + text(options.distance_offset) + ", needs 0 or 1");
    if (x.residual.data && !x.alpha.data) fail(f, "alpha is missing, residual needs it");
    if (x.alpha.data && !x.residual.data) fail(f, "residual is missing, alpha needs it");
    if (!options.grid) {
        if (x.w.heads > 1) fail(f, "grid is missing, the " + text(x.w.heads) + " passes of w need it");
        return;
    }
    const auto [rows, columns] = *options.grid;
    if (rows < 1 || columns < 1 || saturating::multiply(rows, columns) != x.k.tokens)
        fail(f, "grid is [" + text(rows) + ", " + text(columns) + "], needs the " + text(x.k.tokens) + " tokens of k");
}

}  // namespace detail

ATTENTA_INLINE void bi_wkv(const BiWkvInputs& x, Heads<float> o, const BiWkvOptions& options, Context& context) {
    const auto grid = options.grid.value_or(std::array<std::int64_t, 2>{1, x.k.tokens});
    const float by_length = 1.f / static_cast<float>(x.k.tokens);
    const WkvLengthNorm norm = options.length_norm;
    const detail::BiWkvTask p{.w = x.w,
                              .u = x.u,
                              .alpha = x.alpha,
                              .w_factor = norm == WkvLengthNorm::none ? 1.f : by_length,
                              .u_factor = norm == WkvLengthNorm::both ? by_length : 1.f,
                              .apart = options.distance_offset == 1,
                              .rows = grid[0],
                              .columns = grid[1]};
    elementwise::Request r{.function = "bi_wkv",
                           .task = detail::bi_wkv_task(),
                           .rows = {x.k, x.v, x.r, x.residual},
                           .scratch_rows = detail::BiWkvTask::scratch_rows,
                           .work = 5,
                           .parameters = &p};
    LetterSizes letters;
    letters.set("2", 2);
    elementwise::check(r, InputList(x), letters, o, LinearState(), options.check_data);
    detail::check_bi_wkv(x, options);
    r.memory_rows = detail::BiWkvTask::memory_rows(x.k.tokens);
    elementwise::run(r, o, nullptr, context);
}

ATTENTA_END
