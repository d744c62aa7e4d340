// Diversity equals its definition, where rows are cut to nothing too; its own errors.
#include <attenta/analysis/diversity.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::DiversityInputs, analysis::DiversityOptions;
constexpr auto call = &analysis::diversity;
using Row = std::vector<double>;

double cosine(const Row& x, const Row& y) {
    double xy = 0, xx = 0, yy = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        xy += x[i] * y[i];
        xx += x[i] * x[i];
        yy += y[i] * y[i];
    }
    return xy / std::max(std::sqrt(xx) * std::sqrt(yy), 1e-8);
}

Values definition(const DiversityInputs& x, const DiversityOptions& o) {
    const std::int64_t layers = x.attn.size(0), heads = x.attn.size(1), n = x.attn.size(2), keys = x.attn.size(3);
    const auto count = static_cast<double>(n);
    const auto row = [&](std::int64_t l, std::int64_t h, std::int64_t i) {
        const float* const a = x.attn.data + ((l * heads + h) * n + i) * keys;
        return Row(a, a + keys);
    };
    const auto cut = [&](Row r) {
        for (double& e : r) e = e > o.threshold / static_cast<double>(keys) ? e : 0;
        return r;
    };
    Values want;
    double total = 0;
    for (std::int64_t l = 0; l < layers; ++l) {
        std::vector<Row> a(static_cast<std::size_t>(n), Row(static_cast<std::size_t>(keys)));
        Row mean(static_cast<std::size_t>(keys));
        for (std::int64_t h = 0; h < heads; ++h) {
            double pairs = 0;
            for (std::int64_t i = 0; i < n; ++i) {
                const Row of_head = row(l, h, i);
                for (std::size_t j = 0; j < mean.size(); ++j) {
                    a[static_cast<std::size_t>(i)][j] += of_head[j] / static_cast<double>(heads);
                    mean[j] += of_head[j] / static_cast<double>(heads) / count;
                }
                for (std::int64_t other = 0; other < n; ++other)
                    if (other != i) pairs += cosine(of_head, row(l, h, other));
            }
            want["pairwise"].push_back(n > 1 ? pairs / count / (count - 1) : 0);
        }
        double of_layer = 0;
        for (const Row& r : a) {
            want["row_similarity"].push_back(cosine(cut(mean), cut(r)));
            of_layer += want["row_similarity"].back() / count;
        }
        want["layer_similarity"].push_back(of_layer);
        total += of_layer;
    }
    want["similarity"] = {total / (static_cast<double>(layers) + 1e-6)};
    return want;
}

TEST(Diversity, EqualsItsDefinition) {
    Memory memory;
    for (const auto& sizes : {std::array<std::int64_t, 4>{1, 1, 1, 1}, {3, 2, 19, 19}, {2, 4, 13, 40}, {1, 3, 33, 7}})
        for (const double threshold : {0.0, 1.01, 2.0, 50.0})
            for (const bool causal : {false, true}) {
                if (causal && sizes[2] > sizes[3]) continue;
                const DiversityInputs x{memory.weights(sizes, causal, 2)};
                expect_values<call>(x, {threshold}, definition(x, {threshold}));
            }
}

TEST(Diversity, RowsOfZerosAreLikeNothing) {
    Memory memory;
    const DiversityInputs x{{memory.vector({0.f, 0.f, 1.f, 0.f, 1.f, 0.f}).data(), {1, 1, 3, 2}}};
    expect_values<call>(x, {}, definition(x, {}));
}

TEST(DiversityErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const DiversityInputs x{memory.weights<4>({2, 3, 5, 7})};
    expect_bad_tensors_refused<call>(x, {});
    for (const double t : {-0.1, std::nan("")})
        EXPECT_TRUE(refuses_options<call>(x, {}, [t](auto& o) { o.threshold = t; }, {"diversity", "threshold"}));
}

}  // namespace
}  // namespace attenta_test
