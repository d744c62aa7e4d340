// Batched products equal their definition however A, B and C are stored; what they refuse.
#include <attenta/engine/dense/dense.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <ostream>
#include <utility>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"

namespace attenta_test {
namespace {

using attenta::Matrices;
using attenta::dense::ProductOptions;

struct Sizes {
    std::int64_t heads, heads_a, heads_b, m, n, k, gap = 0;
};
std::ostream& operator<<(std::ostream& out, const Sizes& s) {
    return out << "heads " << s.heads << " of a " << s.heads_a << " of b " << s.heads_b << " M " << s.m << " N " << s.n
               << " K " << s.k << " gap " << s.gap;
}

/// A matrix for each head with `gap` numbers between rows and between heads, which nobody may read or write.
struct Memory {
    static constexpr float untouched = std::numeric_limits<float>::quiet_NaN();

    Memory(Random& random, std::int64_t heads, std::int64_t rows, std::int64_t cols, std::int64_t gap)
        : view{nullptr, heads, rows, cols, cols + gap, rows * (cols + gap) + gap},
          numbers(static_cast<std::size_t>(heads * view.head_stride + 1), untouched) {
        view.data = numbers.data();
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t r = 0; r < rows; ++r)
                for (std::int64_t c = 0; c < cols; ++c) at(h, r, c) = random.normal();
    }
    float& at(std::int64_t h, std::int64_t r, std::int64_t c) {
        return view.data[h * view.head_stride + r * view.row_stride + c];
    }
    Matrices<const float> matrices() const {
        return {view.data, view.heads, view.rows, view.cols, view.row_stride, view.head_stride};
    }

    Matrices<float> view;
    std::vector<float> numbers;
};

void expect_product(const Sizes& s, const ProductOptions& o, attenta::Context& context) {
    Random random(static_cast<std::uint64_t>(s.m * 1000 + s.n * 10 + s.k));
    Memory a(random, s.heads_a, o.a_transposed ? s.k : s.m, o.a_transposed ? s.m : s.k, s.gap);
    Memory b(random, s.heads_b, o.b_transposed ? s.n : s.k, o.b_transposed ? s.k : s.n, s.gap);
    Memory c(random, s.heads, s.m, s.n, s.gap), before = c;
    before.view.data = before.numbers.data();
    attenta::dense::multiply(a.matrices(), b.matrices(), c.view, o, context);
    std::int64_t written = 0;
    for (std::int64_t h = 0; h < s.heads; ++h)
        for (std::int64_t i = 0; i < s.m; ++i)
            for (std::int64_t j = 0; j < s.n; ++j, ++written) {
                const std::int64_t of_a = h / (s.heads / s.heads_a), of_b = h / (s.heads / s.heads_b);
                double want = 0, size = 0;
                for (std::int64_t k = 0; k < s.k; ++k) {
                    const double x = double{o.a_transposed ? a.at(of_a, k, i) : a.at(of_a, i, k)} *
                                     double{o.b_transposed ? b.at(of_b, j, k) : b.at(of_b, k, j)};
                    want += x, size += std::abs(x);
                }
                want *= double{o.alpha};
                if (o.add) want += double{before.at(h, i, j)};
                ASSERT_NEAR(double{c.at(h, i, j)}, want, 1e-6 * (1 + size * std::abs(double{o.alpha})))
                    << s << (o.a_transposed ? " A'" : "") << (o.b_transposed ? " B'" : "") << (o.add ? " add" : "")
                    << " at " << h << ", " << i << ", " << j;
            }
    for (const float x : c.numbers) written -= std::isnan(x) ? 0 : 1;
    ASSERT_EQ(written, 0) << s << ": numbers between rows were written";
}

TEST(DenseMultiply, EqualsTheDefinitionForEachWayToStore) {
    const Sizes sizes[] = {{1, 1, 1, 1, 1, 1},      {2, 2, 2, 1, 5, 3, 3},    {4, 4, 2, 1, 600, 40},
                           {4, 1, 2, 2, 33, 17, 1}, {3, 3, 1, 3, 65, 130},    {2, 2, 2, 4, 16, 8},
                           {2, 2, 1, 5, 9, 7, 2},   {6, 2, 3, 12, 48, 64},    {1, 1, 1, 13, 70, 257, 5},
                           {1, 1, 1, 131, 300, 33}, {2, 1, 2, 37, 3, 520, 1}, {1, 1, 1, 260, 17, 1},
                           {2, 2, 2, 6, 32, 0},     {2, 2, 2, 3, 8, 0, 1},    {2, 2, 2, 0, 8, 4}};
    on_every_isa([&](attenta::Context& context) {
        for (const Sizes& s : sizes)
            for (int way = 0; way < 4; ++way)
                for (const auto& [alpha, add] : {std::pair(1.f, false), {-0.5f, true}})
                    expect_product(s, {(way & 1) != 0, (way & 2) != 0, alpha, add}, context);
    });
}

TEST(DenseMultiply, GivesTheSameBitsForAnyThreads) {
    Random random(3);
    Memory a(random, 2, 300, 70, 0), b(random, 1, 70, 530, 0), first(random, 2, 300, 530, 0);
    attenta::ThreadPool one(1), three(3);
    attenta::Context alone(one), context(three);
    Memory second = first;
    second.view.data = second.numbers.data();
    attenta::dense::multiply(a.matrices(), b.matrices(), first.view, {}, alone);
    attenta::dense::multiply(a.matrices(), b.matrices(), second.view, {}, context);
    for (std::int64_t i = 0; i < 2 * 300 * 530; ++i) ASSERT_EQ(first.view.data[i], second.view.data[i]);
}

TEST(DenseMultiply, RefusesWhatDoesNotFit) {
    float memory[64] = {}, out[64];
    std::fill_n(out, 64, 7.f);
    const Matrices<const float> a{memory, 2, 3, 4}, b{memory, 2, 4, 2};
    const auto multiply = [](auto x, auto y, auto z, ProductOptions o = {}) {
        return [=] { attenta::dense::multiply(x, y, z, o); };
    };
    const Matrices<float> c{out, 2, 3, 2};
    EXPECT_TRUE(refuses(multiply(a, Matrices<const float>{memory, 2, 5, 2}, c), {"dense::multiply", "b", "5", "4"}));
    EXPECT_TRUE(refuses(multiply(a, b, c, {.b_transposed = true}), {"b", "columns", "4"}));
    EXPECT_TRUE(refuses(multiply(a, b, Matrices<float>{out, 2, 3, 3}), {"c", "3, 3", "3, 2"}));
    EXPECT_TRUE(refuses(multiply(Matrices<const float>{memory, 3, 3, 4}, b, c), {"a", "3", "2"}));
    EXPECT_TRUE(refuses(multiply(Matrices<const float>{nullptr, 2, 3, 4}, b, c), {"a", "null"}));
    EXPECT_TRUE(refuses(multiply(a, b, Matrices<float>{nullptr, 2, 3, 2}), {"c", "null"}));
    EXPECT_TRUE(refuses(multiply(a, b, Matrices<float>{memory + 4, 2, 3, 2}), {"c", "overlaps", "a"}));
    EXPECT_TRUE(refuses(multiply(a, b, Matrices<float>{out, 2, 3, 2, 1, 6}), {"c", "strides"}));
    EXPECT_TRUE(refuses(multiply(Matrices<const float>{memory, 2, 3, std::int64_t{1} << 61},
                                 Matrices<const float>{memory, 2, std::int64_t{1} << 61, 2}, c),
                        {"a", "memory"}));
    for (const float x : out) EXPECT_EQ(x, 7.f);
}

}  // namespace
}  // namespace attenta_test
