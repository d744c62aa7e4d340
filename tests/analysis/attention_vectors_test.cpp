// Attention vectors equal their definition; ties go to the lowest class and head; their own errors.
#include <attenta/analysis/attention_vectors.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::AttentionVectorsInputs, analysis::AttentionVectorsOptions;
constexpr auto call = &analysis::attention_vectors;

/// The class whose mean has the highest cosine with a row.
std::int64_t nearest(const float* row, const std::vector<std::vector<double>>& means) {
    std::int64_t best = 0;
    double highest = -2;
    for (std::size_t c = 0; c < means.size(); ++c) {
        double xm = 0, xx = 0, mm = 0;
        for (std::size_t d = 0; d < means[c].size(); ++d) {
            xm += double{row[d]} * means[c][d];
            xx += double{row[d]} * double{row[d]};
            mm += means[c][d] * means[c][d];
        }
        const double cosine = xm / std::max(std::sqrt(xx) * std::sqrt(mm), 1e-12);
        if (cosine > highest) {
            highest = cosine;
            best = static_cast<std::int64_t>(c);
        }
    }
    return best;
}

Values definition(const AttentionVectorsInputs& x, const AttentionVectorsOptions& options) {
    const std::int64_t n = x.support.size(0), m = x.query.size(0), heads = x.support.count(1, 3),
                       dim = x.support.size(3);
    const auto classes = static_cast<std::size_t>(options.classes);
    Values want;
    std::vector<std::vector<double>> votes(static_cast<std::size_t>(m), std::vector<double>(classes));
    std::vector<std::vector<std::int64_t>> guess;
    for (std::int64_t h = 0; h < heads; ++h) {
        std::vector<std::vector<double>> means(classes, std::vector<double>(static_cast<std::size_t>(dim)));
        for (std::int64_t i = 0; i < n; ++i) {
            const auto c = static_cast<std::size_t>(x.labels[static_cast<std::size_t>(i)]);
            const auto count = static_cast<double>(std::count(x.labels.begin(), x.labels.end(), std::int64_t(c)));
            for (std::int64_t d = 0; d < dim; ++d)
                means[c][static_cast<std::size_t>(d)] += double{x.support.data[(i * heads + h) * dim + d]} / count;
        }
        double right = 0;
        for (std::int64_t i = 0; i < n; ++i)
            right += nearest(x.support.data + (i * heads + h) * dim, means) == x.labels[static_cast<std::size_t>(i)];
        want["accuracy"].push_back(right / static_cast<double>(n));
        guess.emplace_back();
        for (std::int64_t i = 0; i < m; ++i)
            guess.back().push_back(nearest(x.query.data + (i * heads + h) * dim, means));
    }
    std::vector<std::size_t> order(static_cast<std::size_t>(heads));
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return want["accuracy"][a] > want["accuracy"][b]; });
    order.resize(static_cast<std::size_t>(std::min(options.top, heads)));
    for (const std::size_t h : order) {
        want["heads"].push_back(static_cast<double>(h));
        for (std::size_t i = 0; i < votes.size(); ++i) ++votes[i][static_cast<std::size_t>(guess[h][i])];
    }
    for (const auto& of_one : votes) {
        want["votes"].insert(want["votes"].end(), of_one.begin(), of_one.end());
        want["predicted"].push_back(
            static_cast<double>(std::max_element(of_one.begin(), of_one.end()) - of_one.begin()));
    }
    return want;
}

AttentionVectorsInputs drawn(Memory& memory, std::int64_t n, std::int64_t m, std::int64_t layers, std::int64_t heads,
                             std::int64_t dim, std::int64_t classes) {
    std::vector<std::int64_t> labels;
    for (std::int64_t i = 0; i < n; ++i) labels.push_back(i % classes);
    return {memory.normals<4>({n, layers, heads, dim}), memory.indices(labels),
            memory.normals<4>({m, layers, heads, dim})};
}

TEST(AttentionVectors, EqualTheirDefinition) {
    Memory memory;
    for (const auto& [n, m, layers, heads, dim, classes, top] : {std::array<std::int64_t, 7>{1, 1, 1, 1, 1, 1, 1},
                                                                 {14, 6, 2, 5, 6, 2, 5},
                                                                 {12, 8, 3, 3, 33, 3, 20},
                                                                 {40, 300, 1, 7, 5, 5, 3}}) {
        const auto x = drawn(memory, n, m, layers, heads, dim, classes);
        expect_values<call>(x, {classes, top}, definition(x, {classes, top}));
    }
}

TEST(AttentionVectorsErrors, SayWhatDoesNotFit) {
    Memory memory;
    auto x = drawn(memory, 6, 3, 2, 3, 5, 2);
    expect_bad_tensors_refused<call>(x, {2, 4});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(x, {2, 4}, change, words);
    };
    EXPECT_TRUE(refused([](auto& o) { o.classes = 0; }, {"attention_vectors", "classes", "0"}));
    EXPECT_TRUE(refused([](auto& o) { o.classes = 7; }, {"classes", "7", "6"}));
    EXPECT_TRUE(refused([](auto& o) { o.classes = 3; }, {"labels", "2"}));
    EXPECT_TRUE(refused([](auto& o) { o.classes = 1; }, {"labels", "1", "0"}));
    EXPECT_TRUE(refused([](auto& o) { o.top = 0; }, {"top", "0"}));
    const_cast<float&>(x.query.data[7]) = std::nanf("");
    EXPECT_TRUE(refused([](auto&) {}, {"query", "7", "finite"}));
}

}  // namespace
}  // namespace attenta_test
