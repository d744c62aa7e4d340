// Q-Filters keeps the keys that lie along the main direction of the head's queries. Godey et al. 2025, "Q-Filters: Leveraging
// Query-Key Geometry for Efficient Key-Value Cache Compression".
//
//   score = k_j·f_g,   f_g = mean over the query heads of the group of u_h
//   u_h: first right singular vector of calibration queries [N, D], with the sign that most of them have a positive product with
//
// Time O(D) per new token, one float per token. (The published filters are −f, and keep the smallest products.)
#pragma once

#include <attenta/core/view.hpp>
#include <attenta/kv/eviction/fixed_scores.hpp>

#include <vector>

ATTENTA_BEGIN

using QFiltersOptions = RecentOptions;

/// filters [Hkv, D], borrowed, finite.
class QFilters final : public eviction::FixedScores {
public:
    using Options = QFiltersOptions;
    QFilters(Matrices<const float> filters, const QFiltersOptions& options)
        : FixedScores("q_filters", options), filters_(filters) {}

    EvictionNeeds needs(const EvictionShape& shape) override;

private:
    float score(const HeldTokens& held, std::int64_t, const float* k) const override {
        const float* const f = filters_.row(0, held.head);
        float product = 0;
        for (std::int64_t c = 0; c < dim(); ++c) product += k[c] * f[c];
        return product;
    }

    Matrices<const float> filters_;
};

/// Filters [kv_heads, D] from calibration queries q_cal [Hq, N, D], rotated as at run time. The first singular value needs a
/// clear gap to the second. Throws Error on sizes that do not fit and numbers that are not finite. In the compiled library
/// alone.
std::vector<float> calibrate_q_filters(Heads<const float> q_cal, std::int64_t kv_heads);

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/policies/q_filters.inl>
#endif
