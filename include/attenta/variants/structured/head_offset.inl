#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/variants/structured/head_offset.hpp>
#include <attenta/variants/structured/kernels.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

ATTENTA_BEGIN

namespace detail {

inline void check_indices(const CheckedCall& check, const char* name, std::span<const std::int64_t> indices,
                          std::int64_t limit) {
    for (const std::int64_t i : indices)
        if (i < 0 || i >= limit)
            check.refuse(std::string(name) + " has " + checks::text(i) + ", needs 0 to " + checks::text(limit - 1));
}

inline void check_head_offset(const HeadOffsetInputs& x, const Heads<float>& o, const HeadOffsetOptions& options) {
    const char* const f = "head_offset";
    check_memory(f, "o", {o.data, o.heads, o.tokens, o.dim, o.head_stride, o.token_stride});
    LetterSizes known;
    known.set("Dv", o.dim);
    known.set("L", o.tokens);
    CheckedCall check(f, InputList(x), known);
    if (x.heads.empty() && x.offset.rows != o.heads)
        check.refuse("offset has " + checks::text(x.offset.rows) + " rows, needs one for each of the " +
                     checks::text(o.heads) + " heads of o, or heads");
    check_indices(check, "heads", x.heads, o.heads);
    check_indices(check, "positions", x.positions, o.tokens);
    check.finite("strength", options.strength);
    check.output("o", o, o.heads, o.tokens, o.dim);
}

/// Rows [begin, end) of a head, each entry of the lists in its turn.
inline void offset_rows(const HeadOffsetInputs& x, const Heads<float>& o, const HeadOffsetOptions& options,
                        std::int64_t h, std::int64_t begin, std::int64_t end) {
    const auto change = [&](std::int64_t n, std::int64_t t) {
        structured::offset_row()(
            {x.gain ? x.gain.row(0, n) : nullptr, x.offset.row(0, n),
             options.strength * (x.gate ? x.gate.row(0, n)[t] : 1.f), options.mode == OffsetMode::replace, o.dim},
            o.row(h, t));
    };
    for (std::int64_t n = 0; n < x.offset.rows; ++n) {
        if ((x.heads.empty() ? n : x.heads.data()[n]) != h) continue;
        if (x.positions.empty())
            for (std::int64_t t = begin; t < end; ++t) change(n, t);
        for (const std::int64_t t : x.positions) change(n, t);
    }
}

}  // namespace detail

ATTENTA_INLINE void head_offset(const HeadOffsetInputs& x, Heads<float> o, const HeadOffsetOptions& options,
                                Context& context) {
    detail::check_head_offset(x, o, options);
    // Rows of one head go in order: positions may come twice.
    const std::int64_t rows = x.positions.empty() ? 64 : o.tokens, parts = (o.tokens + rows - 1) / rows;
    run_tasks(context.executor(), o.heads * parts, [&](std::int64_t i, int) {
        const std::int64_t begin = i % parts * rows;
        detail::offset_rows(x, o, options, i / parts, begin, std::min(o.tokens, begin + rows));
    });
}

ATTENTA_END
