#include <attenta/kv/policies/kv_merge.hpp>

#include <cmath>

#include "kv/support/policy.hpp"
#include "kv/support/window.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::GroupScore, attenta::KvMerge, attenta::KvMergeOptions, attenta::KvMergeRule, attenta::Pooling;

double cosine(const float* a, const float* b, std::int64_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (std::int64_t c = 0; c < n; ++c) {
        ab += double{a[c]} * double{b[c]};
        aa += double{a[c]} * double{a[c]};
        bb += double{b[c]} * double{b[c]};
    }
    return ab / (std::max(std::sqrt(aa), 1e-6) * std::max(std::sqrt(bb), 1e-6));
}

/// x_r ← what the spec says, from original rows.
void merge_row(float* to, const float* kept, const std::vector<const float*>& from, const std::vector<double>& cos,
               std::int64_t n, KvMergeRule rule) {
    for (std::int64_t c = 0; c < n; ++c) {
        double sum = double{kept[c]}, weight = 1;
        for (std::size_t d = 0; d < from.size(); ++d) {
            const double omega = rule == KvMergeRule::pivot ? 1 : std::max((cos[d] + 1) / 2, 1e-6),
                         x = double{from[d][c]};
            sum += rule == KvMergeRule::pivot ? (x + double{kept[c]}) / 2 : omega * x;
            weight += omega;
        }
        to[c] = static_cast<float>(sum / weight);
    }
}

/// SnapKV after the prompt; dropped tokens go into the kept ones with the most similar keys.
std::vector<Positions> kv_merge(const NaiveCache& c, const KvMergeOptions& o) {
    std::vector<Positions> kept = c.kept;
    if (c.seen > c.prompt() || c.seen <= o.budget) return kept;
    const EvictionCase& x = c.x;
    for (std::int64_t g = 0; g < std::ssize(kept); ++g) {
        Positions& held = kept[NaiveCache::u(g)];
        const auto [before, window] = c.without_recent(g, o.window);
        held = c.together(c.top(naive_window_scores(c, g, o), before, o.budget - o.window), window);
        std::vector<std::vector<const float*>> keys(held.size()), values(held.size());
        std::vector<std::vector<double>> cosines(held.size());
        for (std::int64_t d = 0; d < c.seen; ++d) {
            if (std::binary_search(held.begin(), held.end(), d)) continue;
            std::vector<double> cos;
            for (const std::int64_t r : held) cos.push_back(cosine(x.keys().row(g, d), x.keys().row(g, r), x.sizes.D));
            const auto best = std::max_element(cos.begin(), cos.end());
            for (auto i = cos.begin(); i != cos.end(); ++i)
                if (i != best) c.note(*i, *best);
            const auto r = static_cast<std::size_t>(best - cos.begin());
            keys[r].push_back(x.keys().row(g, d));
            values[r].push_back(x.values().row(g, d));
            cosines[r].push_back(*best);
        }
        for (std::size_t r = 0; r < held.size(); ++r) {
            merge_row(c.key(held[r], g), x.keys().row(g, held[r]), keys[r], cosines[r], x.sizes.D, o.merge);
            merge_row(c.value(held[r], g), x.values().row(g, held[r]), values[r], cosines[r], x.sizes.Dv, o.merge);
        }
    }
    return kept;
}

KvMergeOptions options(std::int64_t budget, std::int64_t window, Pooling pooling, GroupScore group, KvMergeRule merge) {
    KvMergeOptions o;
    o.window = window, o.kernel = 3, o.pooling = pooling, o.group = group, o.budget = budget, o.merge = merge;
    return o;
}

[[maybe_unused]] const auto& tested = test_policy<KvMerge, kv_merge>(
    "kv_merge", {{"pivot", options(18, 6, Pooling::avg, GroupScore::mean, KvMergeRule::pivot)},
                 {"weighted", options(13, 4, Pooling::max, GroupScore::sum, KvMergeRule::weighted)},
                 {"into one other", options(2, 1, Pooling::avg, GroupScore::max, KvMergeRule::weighted)}});

/// Of equal keys the earliest; what was kept goes into itself.
TEST(KvMerge, SaysWhereTokensWent) {
    EvictionCase x({11, 10, 1, 1, 4, 4}, 2);
    std::fill(x.k.begin(), x.k.begin() + 40, 1.f);
    attenta::Context context;
    KvMerge policy(options(5, 2, Pooling::avg, GroupScore::mean, KvMergeRule::pivot));
    const EvictionResult result = run_policy(x, policy, context);
    const auto into = policy.into(0);
    ASSERT_EQ(into.size(), 10u);
    for (std::int32_t t = 0; t < 10; ++t) {
        const Positions& kept = result.kept[0];
        const bool stays = std::find(kept.begin(), kept.end(), t) != kept.end();
        EXPECT_EQ(into[static_cast<std::size_t>(t)], stays ? t : static_cast<std::int32_t>(kept[0]));
    }
}

TEST(KvMerge, KeepsShortPromptsAsTheyAre) {
    const EvictionCase x({8, 5, 2, 1, 4, 4}, 2);
    attenta::Context context;
    KvMerge policy(options(5, 2, Pooling::avg, GroupScore::mean, KvMergeRule::pivot));
    EXPECT_EQ(run_policy(x, policy, context).kept[0], (Positions{0, 1, 2, 3, 4, 5, 6, 7}));
    EXPECT_EQ(std::vector<std::int32_t>(policy.into(0).begin(), policy.into(0).end()),
              (std::vector<std::int32_t>{0, 1, 2, 3, 4}));
}

TEST(KvMerge, RefusesWindowsThatDoNotFit) {
    const auto needs = [](std::int64_t budget, std::int64_t window) {
        KvMerge(options(budget, window, Pooling::avg, GroupScore::mean, KvMergeRule::pivot)).needs({4, 2, 16, 16});
    };
    EXPECT_TRUE(refuses([&] { needs(0, 1); }, {"kv_merge", "budget", "0"}));
    EXPECT_TRUE(refuses([&] { needs(8, 8); }, {"kv_merge", "window", "8"}));
}

}  // namespace
}  // namespace attenta_test
