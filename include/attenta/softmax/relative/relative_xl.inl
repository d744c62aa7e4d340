#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/softmax/relative/query_ranges.hpp>
#include <attenta/softmax/relative/relative_xl.hpp>
#include <attenta/softmax/relative/terms.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct XlMemory {
    RelativeTerms terms;
    std::vector<float> lse, waves, table, with_u, with_v;
};

inline void check_relative_xl(const RelativeXlInputs& x, const RelativeXlOptions& o, const Distances& d) {
    const char* const f = "relative_xl";
    const bool given = x.r.data != nullptr;
    if (given == (x.w_r.data != nullptr)) fail(f, "w_r and r are both given or both missing, needs one of them");
    check_parameter_heads(f, given ? "r" : "w_r", given ? x.r.heads : x.w_r.heads, x.q.heads);
    if (!is_finite(o.base) || o.base <= 0)
        fail(f, "base is " + std::to_string(o.base) + ", needs a finite number above 0");
    checks::require_at_least(f, "clamp_len", o.clamp_len, -1);
    if (!given) {
        if (x.w_r.tokens < 2 || x.w_r.tokens % 2 != 0)
            fail(f, "w_r has " + checks::text(x.w_r.tokens) + " rows, needs an even number from 2 up");
        return;
    }
    constexpr std::int64_t far = std::int64_t{1} << 48;
    const std::int64_t first = -d.last, last = -d.first;
    if (o.r_first < -far || o.r_first > far || o.r_first > first || last - o.r_first >= x.r.tokens)
        fail(f, "r has " + checks::text(x.r.tokens) + " rows from distance " + checks::text(o.r_first) +
                    " on, needs distances " + checks::text(first) + " to " + checks::text(last));
}

/// Rows r_n of n = −first, −first − 1, ...: the order of keys.
inline Heads<const float> xl_table(const RelativeXlInputs& x, const RelativeXlOptions& o, const Distances& d,
                                   XlMemory& m, Context& context) {
    const std::int64_t count = d.count(), dim = x.q.dim;
    const Heads<const float>& from = x.r.data ? x.r : x.w_r;
    m.table.resize(static_cast<std::size_t>(from.heads * count * dim));
    const Heads<float> table = hnd(m.table.data(), from.heads, count, dim);
    if (x.r.data) {
        for (std::int64_t h = 0; h < from.heads; ++h)
            for (std::int64_t p = 0; p < count; ++p)
                std::copy_n(x.r.row(h, -(d.first + p) - o.r_first), dim, table.row(h, p));
        return table;
    }
    const std::int64_t width = x.w_r.tokens, waves = width / 2;
    m.waves.resize(static_cast<std::size_t>(count * width));
    for (std::int64_t p = 0; p < count; ++p) {
        std::int64_t n = -(d.first + p);
        if (o.clamp_len >= 0) n = std::clamp(n, -o.clamp_len, o.clamp_len);
        for (std::int64_t c = 0; c < waves; ++c) {
            const double angle = static_cast<double>(n) *
                                 std::pow(double{o.base}, -2 * static_cast<double>(c) / static_cast<double>(width));
            m.waves.data()[p * width + c] = static_cast<float>(std::sin(angle));
            m.waves.data()[p * width + waves + c] = static_cast<float>(std::cos(angle));
        }
    }
    dense::multiply({m.waves.data(), 1, count, width}, dense::matrices_of(x.w_r), dense::matrices_of(table), {},
                    context);
    return table;
}

}  // namespace detail

ATTENTA_INLINE void relative_xl(const RelativeXlInputs& x, const SoftmaxOutputs& out, const RelativeXlOptions& options,
                                Context& context) {
    const detail::SoftmaxCall call = detail::check_softmax(
        "relative_xl", x, out, detail::scale_or_default(options.scale, x.q.dim), options.visibility, context);
    const detail::Distances all = detail::visible_distances(call, options.visibility);
    detail::check_relative_xl(x, options, all);
    const detail::CallMemory<detail::XlMemory> memory(x.q.tokens, context);
    const Heads<const float> table = detail::xl_table(x, options, all, *memory, context);
    detail::for_query_ranges(call, detail::RelativeTerms::queries_at_once(x.q.heads, all.count(), x.q.tokens),
                             memory->lse, [&](detail::SoftmaxCall& part, std::int64_t) {
                                 const detail::Distances d = detail::visible_distances(part, options.visibility);
                                 memory->terms.set(detail::with_bias(part.request.q, x.bias_v, memory->with_v),
                                                   table.slice(d.first - all.first, d.count()), d.first,
                                                   part.request.scale, nullptr, context);
                                 part.request.edits.push_back(edit(memory->terms.edit()));
                                 part.request.q = detail::with_bias(part.request.q, x.bias_u, memory->with_u);
                                 part.run();
                             });
}

ATTENTA_END
