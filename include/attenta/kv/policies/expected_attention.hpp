// Expected attention keeps what future queries are likely to look at: their mean and covariance are those of the prompt's, turned
// to the positions that come. NVIDIA kvpress 2025; Devoto et al. 2025, "Expected Attention: KV Cache Compression by Estimating
// Attention from Future Queries Distribution".
//
//   μ, Σ of the prompt's queries before rotation, per query head;   R = mean rotation of positions seen, …, seen + future − 1
//   x_j = k_j·(Rμ)/√D + k_jᵀ (R Σ Rᵀ) k_j / (2D)
//   score = (mean over the group of softmax_j(x) + epsilon) · ‖v_j‖₂
//
// With Σ = Σ_r l_r l_rᵀ (Cholesky) the second term is Σ_r (k_j·R l_r)² / (2D): D + 1 products of each held key per query head.
// Time O(n·D²) per step and query head, D² floats per query head, one float per token.
#pragma once

#include <attenta/core/view.hpp>
#include <attenta/kv/eviction/fixed_scores.hpp>
#include <attenta/kv/eviction/rotary.hpp>

#include <vector>

ATTENTA_BEGIN

struct ExpectedAttentionOptions {
    std::int64_t budget = 1024;  ///< tokens kept per K/V head
    std::int64_t sink = 4;       ///< of them the first ones, whose queries do not count
    std::int64_t future = 512;   ///< positions that are looked ahead
    bool covariance = true;      ///< false: the mean alone
    bool value_norm = true;      ///< false: the score is the softmax
    float epsilon = 0;           ///< added to the softmax where the value's norm counts
    float rope_base = 10000;

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head");
        visit("sink", o.sink, "of them the first ones, whose queries do not count");
        visit("future", o.future, "positions that are looked ahead");
        visit("covariance", o.covariance, "covariance of queries, not the mean alone");
        visit("value_norm", o.value_norm, "times the norm of the value");
        visit("epsilon", o.epsilon, "added to the softmax where the value's norm counts");
        visit("rope_base", o.rope_base, "of the rotary frequencies");
    }
};

/// q_pre [Hq, P, D]: the queries of the P > sink tokens of the prompt before rotation (halves layout), borrowed until the first
/// token, finite. D is even.
class ExpectedAttention final : public EvictionPolicy {
public:
    using Options = ExpectedAttentionOptions;
    ExpectedAttention(Heads<const float> q_pre, const ExpectedAttentionOptions& options)
        : q_pre_(q_pre), options_(options) {}

    EvictionNeeds needs(const EvictionShape& shape) override;
    void arrive(const HeldTokens& held, std::int64_t slot, const float*, const float* v) override {
        held.column(0)[slot] = eviction::norm(v, dim_v_);
    }
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override;

private:
    void check(const EvictionShape& shape) const;
    void take_statistics(std::int64_t head, float* rows) const;
    void expect_queries(const EvictionMoment& now, std::int64_t keys);
    void add_softmax(const HeldTokens& held, const float* x, float share, float* scores) const;

    Heads<const float> q_pre_;
    ExpectedAttentionOptions options_;
    std::int64_t dim_v_ = 0, rows_ = 0;
    eviction::Rotary rotary_;
    std::vector<float> statistics_, turned_;  ///< [Hq, rows, D]: μ/√D and l_r/√(2D), as they are and as R turns them
    std::vector<float> x_;                    ///< [Hq, fullest head] by slot
    std::vector<float> scores_;               ///< [Hkv, fullest head] by slot
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/policies/expected_attention.inl>
#endif
