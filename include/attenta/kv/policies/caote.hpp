// CAOTE drops the token whose loss changes the attention output least. Goel et al. 2025, "CAOTE: KV Caching through
// Attention Output Error based Token Eviction", theorems 3.1 and 3.2.
//
//   e_j = α_j / (1 − α_j) · ‖X − v_j‖₂,   X = Σ_i α_i v_i over the held tokens, or with `fast` their plain mean
//
// per query head, averaged over the group; the smallest goes. The weights α, of sum 1, are those of a base policy, which
// also says how many of the newest tokens are protected: all attention so far (h2o), the newest query's (tova), or the
// pooled attention of the last `window` queries (snapkv). Where a step has one token too many, X follows from the step's own
// outputs, and lengths of X and of values say which tokens may be the one: time Hq·n, and Hq·Dv for each of these few. Otherwise
// Hq·n·Dv; with `multi` greedy as much for each token that the prompt has too many.
#pragma once

#include <attenta/kv/eviction/attention_mass.hpp>
#include <attenta/kv/eviction/newest_weights.hpp>
#include <attenta/kv/eviction/window_scores.hpp>

#include <optional>
#include <vector>

ATTENTA_BEGIN

enum class CaoteBase : std::uint8_t { h2o, tova, snapkv };
constexpr auto names_of(CaoteBase) { return std::to_array<std::string_view>({"h2o", "tova", "snapkv"}); }
enum class CaoteMulti : std::uint8_t { once, greedy };
constexpr auto names_of(CaoteMulti) { return std::to_array<std::string_view>({"once", "greedy"}); }

struct CaoteOptions {
    std::int64_t budget = 1024;               ///< tokens kept per K/V head
    CaoteBase base = CaoteBase::h2o;          ///< whose weights are taken
    std::optional<std::int64_t> recent = {};  ///< newest tokens that stay with h2o; default half of the budget
    std::int64_t window = 32;                 ///< newest queries that score with snapkv, whose tokens stay
    std::int64_t kernel = 5;                  ///< odd; tokens that a weight is pooled over with snapkv
    Pooling pooling = Pooling::avg;
    bool fast = false;                    ///< the mean of the values in place of the output
    CaoteMulti multi = CaoteMulti::once;  ///< greedy: tokens go one by one, weights rescaled after each

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head");
        visit("base", o.base, "whose weights are taken: h2o, tova or snapkv");
        visit("recent", o.recent, "newest tokens that stay with h2o, default half of the budget");
        visit("window", o.window, "newest queries that score with snapkv, whose tokens stay");
        visit("kernel", o.kernel, "tokens that a weight is pooled over with snapkv, odd");
        visit("pooling", o.pooling, "avg (sum / kernel) or max");
        visit("fast", o.fast, "the mean of the values in place of the output");
        visit("multi", o.multi, "once (all by one evaluation) or greedy (one by one)");
    }
};

class Caote final : public EvictionPolicy {
public:
    using Options = CaoteOptions;
    explicit Caote(const CaoteOptions& options = {})
        : options_(options),
          window_({.window = options.window, .kernel = options.kernel, .pooling = options.pooling}) {}

    EvictionNeeds needs(const EvictionShape& shape) override;
    void arrive(const HeldTokens& held, std::int64_t slot, const float* k, const float* v) override;
    void observe(const EvictionMoment& now, std::span<const HeldTokens> heads) override;
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override;
    void leave(const HeldTokens& held, std::span<const std::int32_t> gone, KvCache& cache) override;

private:
    std::int64_t protects() const {
        return options_.base == CaoteBase::h2o    ? options_.recent.value_or(options_.budget / 2)
               : options_.base == CaoteBase::tova ? 0
                                                  : options_.window;
    }
    /// Σ of weights and of weighted values, of a query head over the held tokens.
    struct Sums {
        bool known = false;
        double weight = 0;
        std::vector<double> value;

        void add(double w, const float* v) {
            weight += w;
            for (std::size_t c = 0; c < value.size(); ++c) value[c] += w * double{v[c]};
        }
    };

    const float* weights_of(const HeldTokens& held, std::int64_t h) const;
    void sum_up(const HeldTokens& held, std::int64_t h);
    bool score_the_least(const EvictionMoment& now, const HeldTokens& held, float* scores);
    void load(const EvictionMoment& now, const HeldTokens& held);
    void pool_before_window(const HeldTokens& held, std::int64_t window, float* weights);
    void add_value(std::int64_t slot, float weight);
    void measure(double weight, std::int64_t first, std::int64_t count);
    void errors(float* to);
    void choose_one_by_one(const HeldTokens& held, float* scores);

    CaoteOptions options_;
    eviction::AttentionMass mass_{GroupScore::max};  // of each query head
    eviction::NewestWeights newest_;
    eviction::WindowScores window_;
    std::int64_t group_ = 0, dim_v_ = 0, score_column_ = 0, length_column_ = 0;
    std::vector<Sums> sums_;                 ///< [Hq] with h2o
    std::vector<float> centres_;             ///< [group, Dv] X
    std::vector<double> totals_;             ///< [group] Σ of weights
    std::vector<float> value_;               ///< [Dv]
    std::vector<float> weights_;             ///< of the group's query heads, [group, n] by slot
    std::vector<float> stays_;               ///< [n] by slot, 1, or 0 of those that have been chosen to go
    std::vector<float> values_, distances_;  ///< [n, Dv], [n] by slot
    std::vector<float> sum_, centre_;        ///< [Dv]
    std::vector<float> ordered_, pooled_;
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/policies/caote.inl>
#endif
