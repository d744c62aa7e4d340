#pragma once

#include <attenta/sparse/patterns/parts.hpp>
#include <attenta/sparse/patterns/strided.hpp>

#include <string>

ATTENTA_BEGIN

namespace detail {

struct StridedColumns {
    std::int64_t stride;

    bool operator()(int, std::int64_t i, std::int64_t j) const { return (i - j) % stride == 0; }
};

/// Throws Error.
inline LocalAndColumns<Window, StridedColumns> strided_pattern(const StridedOptions& options) {
    require_at_least("strided", "stride", options.stride, 1);
    if (options.pattern > StridedPattern::alternate)
        fail("strided", "pattern is " + std::to_string(static_cast<int>(options.pattern)) +
                            ", needs merged, local, column or alternate");
    const std::int64_t window = options.window.value_or(options.stride);
    require_at_least("strided", "window", window, 1);
    return {static_cast<PatternParts>(options.pattern),
            options.causal,
            {window - 1, options.causal ? 0 : window - 1},
            {options.stride}};
}

}  // namespace detail

ATTENTA_INLINE Mask strided_mask(const StridedOptions& options) { return detail::strided_pattern(options); }

ATTENTA_INLINE void strided(const StridedInputs& x, const SparseOutputs& out, const StridedOptions& options,
                            Context& context) {
    const auto call = detail::check_sparse("strided", x, out, options, Positions::last, context);
    const auto pattern = detail::strided_pattern(options);
    detail::attend(call, pattern.parts, pattern.causal, pattern.local, [&](bool odd) {
        const KeyLists lists = detail::residue_lists(call, options.stride);
        if (!odd) return lists;
        return detail::for_heads(lists, call.q.heads, [](std::int64_t h) { return h % 2 != 0; });
    });
    detail::give_lists(call, pattern, pattern.parts == detail::PatternParts::alternate ? call.q.heads : 1);
}

ATTENTA_END
