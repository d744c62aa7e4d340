// VATP weighs attention with the size of a token's value. Guo, Kamigaito and Watanabe 2024, "Attention Score is Not All You
// Need for Token Importance Indicator in KV Cache Reduction: Value Also Matters", section 3.
//
//   I_g[j] = S_g[j] · ‖v_j‖₁;   S_g: attention from all queries so far (base h2o), or the last `window` (scissorhands)
//
// The `recent` newest tokens and those at positions below `sink` stay, of the others the best. Time O(n) per step, O(Dv)
// for a new token; state as h2o, or window floats per token and K/V head.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/kv/eviction/attention_mass.hpp>
#include <attenta/kv/eviction/sliding_mass.hpp>
#include <attenta/kv/eviction/window_scores.hpp>

#include <cmath>
#include <optional>
#include <string>

ATTENTA_BEGIN

enum class VatpBase : std::uint8_t { h2o, scissorhands };
constexpr auto names_of(VatpBase) { return std::to_array<std::string_view>({"h2o", "scissorhands"}); }

struct VatpOptions {
    std::int64_t budget = 1024;     ///< tokens kept per K/V head
    VatpBase base = VatpBase::h2o;  ///< whose attention is summed
    std::optional<std::int64_t> recent =
        {};                     ///< newest tokens that stay; default half of the budget, 10 of scissorhands
    std::int64_t window = 400;  ///< newest queries, of scissorhands
    std::int64_t sink = 20;     ///< first tokens that stay
    GroupScore group = GroupScore::mean;

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head");
        visit("base", o.base, "h2o (attention from all queries) or scissorhands (from the last ones)");
        visit("recent", o.recent, "newest tokens that stay, default half of the budget, 10 with scissorhands");
        visit("window", o.window, "newest queries, with scissorhands");
        visit("sink", o.sink, "first tokens that stay");
        visit("group", o.group, "how the query heads of a K/V head combine: mean, sum or max");
    }
};

class Vatp final : public EvictionPolicy {
public:
    using Options = VatpOptions;
    explicit Vatp(const VatpOptions& options = {})
        : options_(options), mass_(options.group), sliding_(options.window, options.group) {}

    EvictionNeeds needs(const EvictionShape& shape) override {
        const char* const f = "vatp";
        eviction::check_budget(f, options_.budget, "recent", recent());
        eviction::require_at_least(f, "window", options_.window, 1);
        if (const std::int64_t left = options_.budget - recent(); options_.sink < 0 || options_.sink > left)
            fail(f, "sink is " + std::to_string(options_.sink) + ", needs 0 to the " + std::to_string(left) +
                        " tokens of the budget that recent leaves");
        dim_v_ = shape.dim_v;
        norm_column_ = of_h2o() ? mass_.columns(shape) : sliding_.columns(shape);
        return {.columns = norm_column_ + 2, .weights = true, .rows = true};
    }
    void arrive(const HeldTokens& held, std::int64_t slot, const float*, const float* v) override {
        float sum = 0;
        for (std::int64_t c = 0; c < dim_v_; ++c) sum += std::abs(v[c]);
        held.column(norm_column_)[slot] = sum;
    }
    void observe(const EvictionMoment& now, std::span<const HeldTokens> heads) override {
        of_h2o() ? mass_.add(now, heads) : sliding_.add(now, heads);
    }
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override {
        for (const HeldTokens& held : heads) {
            const float *const mass = of_h2o() ? mass_.of(held, now.shape) : sliding_.of(held), *const norms =
                                                                                                    held.column(
                                                                                                        norm_column_);
            float* const scores = held.column(norm_column_ + 1);
            for (std::int64_t i = 0; i < held.size(); ++i) scores[i] = mass[i] * norms[i];
            choices[static_cast<std::size_t>(held.head)] = {
                .scores = scores, .keep = options_.budget, .sink = options_.sink, .recent = recent()};
        }
    }

private:
    bool of_h2o() const { return options_.base == VatpBase::h2o; }
    std::int64_t recent() const { return options_.recent.value_or(of_h2o() ? options_.budget / 2 : 10); }

    VatpOptions options_;
    eviction::AttentionMass mass_;
    eviction::SlidingMass sliding_;
    std::int64_t dim_v_ = 0, norm_column_ = 0;
};

ATTENTA_END
