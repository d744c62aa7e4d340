#pragma once

#include <attenta/analysis/feature_alignment.hpp>
#include <attenta/analysis/pair_kernels.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

/// Sums over the pairs of a head: their weights, and how many are strong.
struct PairSums {
    double weight = 0, strong = 0;

    void operator+=(const PairSums& other) {
        weight += other.weight;
        strong += other.strong;
    }
};

/// Queries are summed up in so many parts at most, which tasks share.
inline constexpr std::int64_t query_parts = 64;

inline void check_feature_alignment(const FeatureAlignmentInputs& x, const FeatureAlignmentOutputs& out,
                                    const FeatureAlignmentOptions& options) {
    Check check("feature_alignment", x);
    check.within("min_attn", options.min_attn, 0, 1);
    const std::int64_t *const begin = x.feature.data, *const end = begin + x.feature.count();
    const std::int64_t* const wrong = std::find_if_not(begin, end, [](std::int64_t f) { return f == 0 || f == 1; });
    if (wrong != end)
        check.refuse("feature is " + checks::text(*wrong) + " at element " + checks::text(wrong - begin) +
                     ", needs 0 or 1");
    check.scratch("the sums of the heads", x.attn.count(0, 2), x.feature.size(0) + 1, query_parts);
    check.outputs(out, x, options);
}

/// The smallest float from x on: numbers are as large as it where they are as large as x. No subnormal one, which counts as 0.
inline float smallest_from(double x) {
    if (x <= 0) return 0;
    const auto near = static_cast<float>(x);
    return std::max(std::numeric_limits<float>::min(),
                    double{near} < x ? std::nextafter(near, std::numeric_limits<float>::infinity()) : near);
}

/// Sums [L·H, 1 + F] over all pairs, and over those of each feature. A row of features serves all heads while it is in cache.
inline std::vector<PairSums> sum_pairs(const FeatureAlignmentInputs& x, float least, Context& context) {
    const std::int64_t heads = x.attn.count(0, 2), queries = x.attn.size(2), keys = x.attn.size(3),
                       kinds = x.feature.size(0) + 1, parts = std::min(queries, query_parts), all = heads * kinds;
    std::vector<PairSums> sums(static_cast<std::size_t>(parts * all));
    run_tasks(context.executor(), parts, [&](std::int64_t part, int) {
        std::vector<float> marks(static_cast<std::size_t>(kinds * keys), 1.f);
        for (std::int64_t i = part * queries / parts; i < (part + 1) * queries / parts; ++i) {
            for (std::int64_t f = 1; f < kinds; ++f)
                std::transform(x.feature.data + ((f - 1) * queries + i) * keys,
                               x.feature.data + ((f - 1) * queries + i + 1) * keys, marks.data() + f * keys,
                               [](std::int64_t mark) { return static_cast<float>(mark); });
            for (std::int64_t n = 0; n < all; ++n) {
                const MarkedSums row = sum_marked()(x.attn.data + (n / kinds * queries + i) * keys,
                                                    marks.data() + n % kinds * keys, keys, least);
                sums[static_cast<std::size_t>(part * all + n)] += {double{row.weight}, double{row.strong}};
            }
        }
    });
    for (std::int64_t n = all; n < parts * all; ++n)
        sums[static_cast<std::size_t>(n % all)] += sums[static_cast<std::size_t>(n)];
    sums.resize(static_cast<std::size_t>(all));
    return sums;
}

}  // namespace detail

ATTENTA_INLINE void feature_alignment(const FeatureAlignmentInputs& x, const FeatureAlignmentOutputs& out,
                                      const FeatureAlignmentOptions& options, Context& context) {
    detail::check_feature_alignment(x, out, options);
    const std::int64_t heads = x.attn.count(0, 2), features = x.feature.size(0), pairs = x.feature.count(1);
    const auto sums = detail::sum_pairs(x, detail::smallest_from(options.min_attn), context);
    const auto of = [&](std::int64_t head, std::int64_t kind) -> const detail::PairSums& {
        return sums[static_cast<std::size_t>(head * (features + 1) + kind)];
    };
    for (std::int64_t h = 0; h < heads; ++h)
        if (const double total = of(h, 0).weight; !(total > 0 && is_finite(static_cast<float>(total))))
            fail("feature_alignment", "attn sums to " + std::to_string(total) + " in head " + checks::text(h) +
                                          " of all layers, needs a number above 0");
    const auto give = [](float* to, std::int64_t at, double value) {
        if (to) to[at] = static_cast<float>(value);
    };
    for (std::int64_t h = 0; out.count && h < heads; ++h) out.count[h] = static_cast<std::int64_t>(of(h, 0).strong);
    for (std::int64_t f = 0; f < features; ++f) {
        const std::int64_t* const begin = x.feature.data + f * pairs;
        const auto marked = static_cast<double>(std::count(begin, begin + pairs, std::int64_t{1}));
        for (std::int64_t h = 0; h < heads; ++h) {
            const detail::PairSums &all = of(h, 0), &with = of(h, f + 1);
            const double mass = with.weight / all.weight;
            give(out.share, f * heads + h, with.strong / std::max(all.strong, 1.0));
            give(out.mass, f * heads + h, mass);
            give(out.mean, f * heads + h, with.weight / std::max(marked, 1.0));
            give(out.energy, f * heads + h, (1 - mass) * (1 - mass));
        }
    }
}

}  // namespace analysis

ATTENTA_END
