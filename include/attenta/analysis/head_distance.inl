#pragma once

#include <attenta/analysis/common/patch_grid.hpp>
#include <attenta/analysis/head_distance.hpp>
#include <attenta/analysis/kernels.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_head_distance(const HeadDistanceInputs& x, const HeadDistanceOutputs& out,
                                const HeadDistanceOptions& options) {
    Check check("head_distance", x);
    check.at_least("window", options.window, 0);
    check.within("smoothing", options.smoothing, 0, 1);
    if (options.grid) {
        const auto [rows, cols] = *options.grid;
        const std::int64_t tokens = x.attn.size(2);
        check.range("the rows of grid", rows, 1, tokens);
        check.range("the columns of grid", cols, 1, tokens / rows);
        check.range("grid_start", options.grid_start, 0, tokens - rows * cols);
    }
    check.outputs(out, x, options);
}

/// What one head gives, for each of its queries.
class HeadRows {
public:
    HeadRows(const float* attn, std::int64_t tokens) : attn_(attn), tokens_(tokens) {}

    template <class F>
    double mean(F&& f) const {
        double sum = 0;
        for (std::int64_t i = 0; i < tokens_; ++i) sum += f(attn_ + i * tokens_, i);
        return sum / static_cast<double>(tokens_);
    }

    double distance() const {
        return mean([this](const float* row, std::int64_t i) { return double{distance_sum()(row, tokens_, i)}; });
    }
    double local_mass(std::int64_t window) const {
        return mean([&](const float* row, std::int64_t i) {
            const std::int64_t reach = std::min(window, tokens_), begin = std::max<std::int64_t>(i - reach, 0);
            return double{sum_of_weights()(row + begin, std::min(i + reach + 1, tokens_) - begin)};
        });
    }
    double offset_mass(std::int64_t offset) const {
        if (offset <= -tokens_ || offset >= tokens_) return 0;
        return mean([&](const float* row, std::int64_t i) {
            const std::int64_t j = i + offset;
            return j < 0 || j >= tokens_ ? 0.0 : double{row[j]};
        });
    }
    double entropy(double smoothing) const {
        const auto gain = static_cast<float>(1 - smoothing),
                   floor = static_cast<float>(smoothing / static_cast<double>(tokens_));
        return mean(
            [&](const float* row, std::int64_t) { return double{smooth_entropy()(row, tokens_, gain, floor)}; });
    }

    struct ClassMass {
        double from_members = 0, from_others = 0;
    };
    /// Sums of the weights on members, 1 in `member`.
    ClassMass class_mass(const float* member) const {
        ClassMass sums;
        for (std::int64_t i = 0; i < tokens_; ++i)
            (member[i] != 0 ? sums.from_members : sums.from_others) +=
                double{dot_of_weights()(attn_ + i * tokens_, member, tokens_)};
        return sums;
    }

    struct GridSums {
        double distance = 0;
        std::vector<double> hops;
    };
    GridSums grid(const PatchGrid& patches, std::int64_t first) const {
        GridSums sums{0, std::vector<double>(static_cast<std::size_t>(patches.hops()))};
        for (std::int64_t p = 0; p < patches.patches(); ++p) {
            const float* const row = attn_ + (first + p) * tokens_ + first;
            sums.distance += patches.distance_sum(p, row);
            patches.add_hops(p, row, sums.hops.data());
        }
        return sums;
    }

private:
    const float* attn_;
    std::int64_t tokens_;
};

/// 1 for members of the classes, [C, T], and how many there are.
struct Members {
    std::vector<float> member;
    std::vector<double> count;

    explicit Members(const DenseTensor<const std::int64_t, 2>& classes) {
        if (!classes) return;
        member.resize(static_cast<std::size_t>(classes.count()));
        count.resize(static_cast<std::size_t>(classes.size(0)));
        for (std::size_t i = 0; i < member.size(); ++i) {
            member[i] = classes.data[i] != 0 ? 1.f : 0.f;
            count[i / static_cast<std::size_t>(classes.size(1))] += double{member[i]};
        }
    }
};

}  // namespace detail

ATTENTA_INLINE void head_distance(const HeadDistanceInputs& x, const HeadDistanceOutputs& out,
                                  const HeadDistanceOptions& options, Context& context) {
    detail::check_head_distance(x, out, options);
    const std::int64_t heads = x.attn.count(0, 2), tokens = x.attn.size(2);
    const detail::Members members(x.classes);
    std::optional<PatchGrid> patches;
    if (options.grid) patches.emplace((*options.grid)[0], (*options.grid)[1]);
    const auto give = [heads](float* to, std::int64_t place, std::int64_t head, double value) {
        if (to) to[place * heads + head] = static_cast<float>(value);
    };
    context.executor().parallel_for(heads, [&](std::int64_t h, int) {
        const detail::HeadRows rows(x.attn.data + h * tokens * tokens, tokens);
        if (out.distance) give(out.distance, 0, h, rows.distance());
        if (out.local_mass) give(out.local_mass, 0, h, rows.local_mass(options.window));
        if (out.entropy) give(out.entropy, 0, h, rows.entropy(options.smoothing));
        for (std::int64_t o = 0; o < std::ssize(options.offsets); ++o)
            give(out.offset_mass, o, h, rows.offset_mass(options.offsets[static_cast<std::size_t>(o)]));
        for (std::int64_t c = 0; c < std::ssize(members.count); ++c) {
            const double count = members.count[static_cast<std::size_t>(c)], all = static_cast<double>(tokens);
            const auto mass = rows.class_mass(members.member.data() + c * tokens);
            give(out.class_mass, c, h, (mass.from_members + mass.from_others) / all);
            give(out.class_from_members, c, h, mass.from_members / std::max(count, 1.0));
            give(out.class_from_others, c, h, mass.from_others / std::max(all - count, 1.0));
        }
        if (!patches || (!out.grid_distance && !out.hop_strength)) return;
        const auto grid = rows.grid(*patches, options.grid_start);
        give(out.grid_distance, 0, h, grid.distance / static_cast<double>(patches->patches()));
        for (std::int64_t r = 0; r < patches->hops(); ++r)
            give(out.hop_strength, r, h, grid.hops[static_cast<std::size_t>(r)] / patches->pairs(r));
    });
}

}  // namespace analysis

ATTENTA_END
