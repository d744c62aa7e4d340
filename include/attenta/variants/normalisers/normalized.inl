#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/variants/normalisers/normalized.hpp>
#include <attenta/variants/normalisers/normalized_kernels.hpp>
#include <attenta/variants/whole_rows.hpp>

#include <string>

ATTENTA_BEGIN

ATTENTA_INLINE void normalized(const NormalizedInputs& x, const WeightedOutputs& out, const NormalizedOptions& options,
                               Context& context) {
    const char* const f = "normalized";
    if (!is_finite(options.eps) || !(options.eps > 0))
        fail(f, "eps is " + std::to_string(options.eps) + ", needs a finite number above 0");
    if (static_cast<int>(options.eps_at) > static_cast<int>(NormalizedEps::variance))
        fail(f, "eps_at is none of NormalizedEps");
    const detail::SoftmaxCall call = detail::check_weighted(f, x, out, options.scale, options.visibility, context);
    detail::CallMemory<detail::WholeRowsMemory> own(x.q.tokens, context);
    const detail::StandardiseRow standardise = detail::standardise_row();
    detail::attend_by_rows(call, *own, [&](const detail::ScoreRange& s) {
        detail::for_score_rows(s, context, [&](const detail::ScoreRow& row) {
            const auto head = static_cast<std::size_t>(row.head);
            standardise(row.s, row.count, options.eps, options.eps_at == NormalizedEps::variance, x.gain[head],
                        x.bias[head]);
        });
    });
}

ATTENTA_END
