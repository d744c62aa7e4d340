// TextSpan finds texts that data was made of, and rebuilds it from them; each pick explains more; own errors.
#include <attenta/analysis/textspan.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::TextspanInputs, analysis::TextspanOptions;
constexpr auto call = &analysis::textspan;

/// The definition where the data has full rank, so that projecting the texts changes nothing.
Values definition(const TextspanInputs& x, std::int64_t picks) {
    const auto n = static_cast<std::size_t>(x.data.size(0)), e = static_cast<std::size_t>(x.data.size(1)),
               m = static_cast<std::size_t>(x.text.size(0));
    using Rows = std::vector<std::vector<double>>;
    Rows data(n, std::vector<double>(e)), text(m, std::vector<double>(e)), rebuilt = data;
    for (std::size_t i = 0; i < n * e; ++i) data[i / e][i % e] = double{x.data.data[i]};
    for (std::size_t i = 0; i < m * e; ++i) text[i / e][i % e] = double{x.text.data[i]};
    const auto product = [e](const std::vector<double>& a, const std::vector<double>& b) {
        double sum = 0;
        for (std::size_t c = 0; c < e; ++c) sum += a[c] * b[c];
        return sum;
    };
    for (std::size_t c = 0; c < e; ++c) {
        double mean = 0;
        for (std::size_t r = 0; r < n; ++r) mean += data[r][c] / static_cast<double>(n);
        for (std::size_t r = 0; r < n; ++r) data[r][c] -= rebuilt[r][c] = mean;
    }
    const auto squares = [&] {
        double sum = 0;
        for (const auto& row : data) sum += product(row, row);
        return sum;
    };
    const double all = squares();
    Values want;
    for (std::int64_t p = 0; p < picks; ++p) {
        std::size_t best = 0;
        double largest = -1;
        for (std::size_t t = 0; t < m; ++t) {
            double sum = 0;  // rows of data have the mean 0
            for (const auto& row : data) sum += std::pow(product(row, text[t]), 2);
            const double spread = std::sqrt(sum / static_cast<double>(n - 1));
            if (spread > largest) largest = spread, best = t;
        }
        const std::vector<double> r = text[best];
        const auto remove = [&](std::vector<double>& row) {
            const double share = product(row, r) / product(r, r);
            for (std::size_t c = 0; c < e; ++c) row[c] -= share * r[c];
            return share;
        };
        for (std::size_t i = 0; i < n; ++i) {
            const double share = remove(data[i]);
            for (std::size_t c = 0; c < e; ++c) rebuilt[i][c] += share * r[c];
        }
        for (auto& row : text) remove(row);
        want["chosen"].push_back(static_cast<double>(best));
        want["spread"].push_back(largest);
        want["explained"].push_back(1 - squares() / all);
    }
    for (const auto& row : rebuilt) want["reconstruction"].insert(want["reconstruction"].end(), row.begin(), row.end());
    return want;
}

TEST(Textspan, EqualsItsDefinition) {
    Memory memory;
    for (const auto& [n, m, e, picks] : {std::array<std::int64_t, 4>{2, 1, 1, 1}, {31, 40, 17, 5}, {23, 19, 12, 4}}) {
        const TextspanInputs x{memory.normals<2>({n, e}), memory.normals<2>({m, e})};
        expect_values<call>(x, {80, picks}, definition(x, picks), {.absolute = 1e-4, .relative = 2e-4});
    }
}

/// Data along two of the texts, which are at right angles: it needs no others.
TEST(Textspan, FindsWhatDataIsMadeOf) {
    Memory memory;
    std::vector<float> data, text(25, 0.f);
    for (std::size_t i = 0; i < 5; ++i) text[i * 5 + i] = 1;
    for (int n = 0; n < 9; ++n)
        for (int c = 0; c < 5; ++c)
            data.push_back(c == 3 ? 4 * memory.random.normal() : c == 1 ? memory.random.normal() : 2);
    const TextspanInputs x{{memory.vector(data).data(), {9, 5}}, {memory.vector(text).data(), {5, 5}}};
    Outputs<call> out(x, {3, 2});
    analysis::textspan(x, out.list, {3, 2});
    const Values got = out.values();
    EXPECT_EQ(got.at("chosen"), (std::vector<double>{3, 1}));
    EXPECT_NEAR(got.at("explained")[1], 1, 1e-5);
    EXPECT_TRUE(close(got, {{"reconstruction", {data.begin(), data.end()}}}, {.absolute = 1e-4, .relative = 2e-4}));
}

TEST(TextspanErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const TextspanInputs x{memory.normals<2>({7, 4}), memory.normals<2>({6, 4})};
    const TextspanOptions good{80, 3};
    expect_bad_tensors_refused<call>(x, good);
    EXPECT_TRUE(refuses_options<call>(x, good, [](auto& o) { o.picks = 5; }, {"textspan", "picks", "5", "4"}));
    EXPECT_TRUE(refuses_options<call>(x, good, [](auto& o) { o.rank = 0; }, {"rank", "0"}));
    EXPECT_TRUE(refuses_options<call>(x, good, [](auto& o) { o.rank = 2; }, {"picks", "3"}));
    EXPECT_TRUE(refuses_inputs<call>(x, good, [](auto& in) { in.data.sizes[0] = 1; }, {"data", "1", "2"}));
}

}  // namespace
}  // namespace attenta_test
