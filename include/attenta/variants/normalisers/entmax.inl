#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/variants/normalisers/entmax.hpp>
#include <attenta/variants/normalisers/entmax_kernels.hpp>
#include <attenta/variants/whole_rows.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_entmax_alpha(const char* f, const std::string& name, float alpha) {
    if (!is_finite(alpha) || !(alpha > 1))
        fail(f, name + " is " + std::to_string(alpha) + ", needs a finite number above 1");
}

struct EntmaxMemory {
    WholeRowsMemory rows;
    std::vector<float> candidates;
};

}  // namespace detail

ATTENTA_INLINE void entmax(const EntmaxInputs& x, const EntmaxOutputs& out, const EntmaxOptions& options,
                           Context& context) {
    const char* const f = "entmax";
    const float scale = detail::scale_or_default(options.scale, std::max<std::int64_t>(x.q.dim, 1));
    detail::check_entmax_alpha(f, "alpha", options.alpha);
    const detail::SoftmaxCall call = detail::check_weighted(f, x, out, scale, options.visibility, context);
    const std::int64_t keys = call.keys(), heads = x.q.heads, queries = x.q.tokens;
    for (std::size_t h = 0; h < x.alpha.size(); ++h)
        detail::check_entmax_alpha(f, "alpha[" + std::to_string(h) + "]", x.alpha[h]);
    detail::OutputMemory memory(f, InputList(x), x.q, x.kv, out.o, nullptr);
    if (out.weights.data) checks::check_output(f, heads, queries, keys, out.weights, "weights");
    memory.add("weights", out.weights);

    detail::CallMemory<detail::EntmaxMemory> own(queries, context);
    const std::int64_t stride = detail::score_stride(keys);
    own->candidates.resize(static_cast<std::size_t>(context.executor().concurrency() * stride));
    const detail::EntmaxRow weigh = detail::entmax_row();
    detail::attend_by_rows(call, own->rows, [&](const detail::ScoreRange& s) {
        detail::for_score_rows(s, context, [&](const detail::ScoreRow& row) {
            const float alpha = x.alpha.empty() ? options.alpha : x.alpha[static_cast<std::size_t>(row.head)];
            weigh(row.s, row.count, alpha, own->candidates.data() + row.slot * stride);
            if (!out.weights.data) return;
            float* const to = out.weights.row(row.head, row.query);
            std::fill_n(to, keys, 0.f);
            std::copy_n(row.s, std::min(row.count, keys - row.begin), to + row.begin);
        });
    });
}

ATTENTA_END
