// Attention of the newest queries to what is held before them, smoothed along the sequence: SnapKV's scores.
#pragma once

#include <attenta/engine/common/checks.hpp>
#include <attenta/kv/eviction/policy.hpp>

#include <cstdint>
#include <vector>

ATTENTA_BEGIN

enum class Pooling : std::uint8_t { avg, max };
constexpr auto names_of(Pooling) { return std::to_array<std::string_view>({"avg", "max"}); }

struct WindowOptions {
    std::int64_t window = 32;        ///< newest queries that score, whose tokens stay
    std::int64_t kernel = 5;         ///< odd; neighbours that a score is pooled over, itself among them
    Pooling pooling = Pooling::avg;  ///< sum / kernel, or the largest
    GroupScore group = GroupScore::mean;

    static void fields(auto&& visit, auto& o) {
        visit("window", o.window, "newest queries that score, whose tokens stay");
        visit("kernel", o.kernel, "tokens that a score is pooled over, odd");
        visit("pooling", o.pooling, "avg (sum / kernel) or max");
        visit("group", o.group, "how the query heads of a K/V head combine: mean, sum or max");
    }
};

namespace eviction {

/// Throws Error unless the window fits into the budget and the kernel is odd.
void check_window(const char* policy, const WindowOptions& options, std::int64_t budget);
/// Throws Error unless a budget holds at least one token, and those that are protected.
void check_budget(const char* policy, std::int64_t budget, const char* what = "", std::int64_t is_protected = 0);
using checks::require_at_least;

/// Pools x, n numbers in order: zeros beyond the ends of an average, nothing beyond those of a maximum.
void pool(const std::vector<float>& x, std::int64_t kernel, Pooling pooling, std::vector<float>& y);

/// m_g[j] = `group` over query heads of the mean over the window's queries of their weights, pooled over the tokens before
/// the window in the order of positions.
class WindowScores {
public:
    explicit WindowScores(const WindowOptions& options) : options_(options) {}

    /// Computes those of all heads.
    void update(const EvictionMoment& now, std::span<const HeldTokens> heads);
    /// The same, and of each head the window and the best of the other tokens, `keep` in all.
    void keep_best(const EvictionMoment& now, std::span<const HeldTokens> heads, std::int64_t keep,
                   std::span<EvictionChoice> choices);
    /// Of a query head the mean over the window's queries, by slot.
    const float* mean(std::int64_t query_head) const { return means_.data() + query_head * stride_; }
    /// By slot; 0 for the window's tokens.
    const float* of(std::int64_t head) const { return scores_.data() + head * stride_; }
    /// The same in the order of positions, of the tokens before the window alone.
    std::span<const float> ordered(std::int64_t head) const { return ordered_[static_cast<std::size_t>(head)]; }

private:
    WindowOptions options_;
    std::int64_t stride_ = 0;
    std::vector<float> means_;   ///< [Hq, stride] by slot
    std::vector<float> scores_;  ///< [heads, stride] by slot
    std::vector<std::vector<float>> ordered_;
};

}  // namespace eviction

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/eviction/window_scores.inl>
#endif
