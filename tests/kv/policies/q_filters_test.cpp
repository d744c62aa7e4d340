#include <attenta/kv/policies/q_filters.hpp>

#include <limits>

#include "kv/support/given.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::QFilters, attenta::QFiltersOptions;

/// filters [Hkv, D]
std::span<const float> filters_of(const EvictionCase& x) { return given_numbers(x, x.sizes.Hkv * x.sizes.D); }

auto make(const EvictionCase& x, const QFiltersOptions& o) {
    return std::make_unique<QFilters>(attenta::Matrices<const float>{filters_of(x).data(), 1, x.sizes.Hkv, x.sizes.D},
                                      o);
}

/// score = k_j·f_g
std::vector<Positions> q_filters(const NaiveCache& c, const QFiltersOptions& o) {
    const auto filters = filters_of(c.x);
    return keep_best(c, o.budget, o.recent, [&](std::int64_t g, std::int64_t j) {
        double product = 0;
        for (std::int64_t d = 0; d < c.x.sizes.D; ++d)
            product += double{c.key(j, g)[d]} * double{filters[NaiveCache::u(g * c.x.sizes.D + d)]};
        return product;
    });
}

[[maybe_unused]] const auto& policy = test_given_policy<QFilters, make, q_filters>(
    "q_filters", {{"plain", {.budget = 16}}, {"recent", {.budget = 18, .recent = 6}}, {"one slot", {.budget = 1}}});

/// Queries [Hq, N, D] along a direction of either sign, and the first right singular vectors of them by power iteration.
struct Calibration {
    std::int64_t heads, queries, dim;
    std::vector<float> q;

    Calibration(std::int64_t its_heads, std::int64_t its_queries, std::int64_t its_dim, std::uint64_t seed)
        : heads(its_heads), queries(its_queries), dim(its_dim) {
        Random random(seed);
        for (std::int64_t h = 0; h < heads; ++h) {
            const std::vector<float> lean = random.normals(dim);
            for (std::int64_t t = 0; t < queries; ++t) {
                const float along = 1.5f + 1.3f * random.normal();
                for (const float u : lean) q.push_back(random.normal() + along * u);
            }
        }
    }
    attenta::Heads<const float> view() const { return attenta::hnd(q.data(), heads, queries, dim); }

    std::vector<double> direction(std::int64_t head) const {
        std::vector<double> u(NaiveCache::u(dim), 1.0);
        u[0] = 2;
        double positive = 0;
        for (int i = 0; i < 3000; ++i) {
            std::vector<double> next(u.size());
            positive = 0;
            for (std::int64_t t = 0; t < queries; ++t) {
                const float* const row = view().row(head, t);
                double product = 0;
                for (std::size_t d = 0; d < u.size(); ++d) product += double{row[d]} * u[d];
                for (std::size_t d = 0; d < u.size(); ++d) next[d] += product * double{row[d]};
                positive += product > 0 ? 1 : 0;
            }
            double length = 0;
            for (const double x : next) length += x * x;
            for (std::size_t d = 0; d < u.size(); ++d) u[d] = next[d] / std::sqrt(length);
        }
        for (double& x : u) x = 2 * positive > static_cast<double>(queries) ? x : -x;
        return u;
    }
};

TEST(QFilters, FiltersAreMainDirectionsOfQueries) {
    for (const auto& [heads, kv_heads, queries, dim] :
         {std::array<std::int64_t, 4>{4, 2, 41, 14}, {3, 3, 25, 9}, {6, 1, 5, 16}}) {
        const Calibration c(heads, queries, dim, 7);
        const std::vector<float> filters = attenta::calibrate_q_filters(c.view(), kv_heads);
        ASSERT_EQ(std::ssize(filters), kv_heads * dim);
        const std::int64_t group = heads / kv_heads;
        for (std::int64_t g = 0; g < kv_heads; ++g) {
            std::vector<double> mean(NaiveCache::u(dim));
            for (std::int64_t h = g * group; h < (g + 1) * group; ++h)
                for (std::size_t d = 0; d < mean.size(); ++d) mean[d] += c.direction(h)[d] / static_cast<double>(group);
            for (std::size_t d = 0; d < mean.size(); ++d)
                EXPECT_NEAR(filters[NaiveCache::u(g * dim) + d], mean[d], 1e-6);
        }
    }
}

TEST(QFilters, CalibrationRefusesWhatDoesNotFit) {
    Calibration c(4, 5, 8, 1);
    EXPECT_TRUE(refuses([&] { attenta::calibrate_q_filters(c.view(), 3); }, {"q_filters", "q_cal", "4", "3"}));
    EXPECT_TRUE(refuses([&] { attenta::calibrate_q_filters(c.view(), 0); }, {"q_filters", "q_cal", "0"}));
    EXPECT_TRUE(refuses([&] { attenta::calibrate_q_filters(c.view().slice(0, 0), 2); }, {"q_filters", "q_cal", "0"}));
    c.q[45] = std::numeric_limits<float>::infinity();
    EXPECT_TRUE(
        refuses([&] { attenta::calibrate_q_filters(c.view(), 2); }, {"q_filters", "q_cal", "query 0", "head 1"}));
}

TEST(QFilters, RefusesFiltersThatDoNotFit) {
    std::vector<float> filters(32, 1.f);
    const auto needs = [&](std::int64_t heads, std::int64_t dim, const QFiltersOptions& o = {}) {
        QFilters({filters.data(), 1, heads, dim}, o).needs({4, 2, 16, 16});
    };
    EXPECT_NO_THROW(needs(2, 16));
    EXPECT_TRUE(refuses([&] { needs(1, 16); }, {"q_filters", "filters", "1", "2"}));
    EXPECT_TRUE(refuses([&] { needs(2, 8); }, {"q_filters", "filters", "8", "16"}));
    EXPECT_TRUE(refuses([&] { needs(2, 16, {.budget = 0}); }, {"q_filters", "budget", "0"}));
    EXPECT_TRUE(refuses([&] { needs(2, 16, {.budget = 4, .recent = 5}); }, {"q_filters", "recent", "5", "4"}));
    filters[20] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(refuses([&] { needs(2, 16); }, {"q_filters", "filters", "head 1", "finite"}));
}

}  // namespace
}  // namespace attenta_test
