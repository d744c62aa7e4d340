// Centred kernel alignment equals its definition; it does not see rotations and offsets; own errors.
#include <attenta/analysis/cka.hpp>

#include "analysis/support/alignment.hpp"
#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::CkaInputs, analysis::CkaOptions;
constexpr auto call = &analysis::cka;

Square products(const View& x, std::int64_t h) {
    Square g(x.tokens);
    for (std::int64_t i = 0; i < x.tokens; ++i)
        for (std::int64_t j = 0; j < x.tokens; ++j) g(i, j) = dot(x.row(h, i), x.row(h, j), x.dim);
    return g;
}

Square gaussian(const View& x, std::int64_t h, std::optional<double> sigma) {
    const Square g = products(x, h);
    Square d(x.tokens);
    for (std::int64_t i = 0; i < x.tokens; ++i)
        for (std::int64_t j = 0; j < x.tokens; ++j)
            d(i, j) = i == j ? 0 : std::max(g(i, i) + g(j, j) - 2 * g(i, j), 0.0);
    return gaussian_of(d, sigma);
}

Values definition(const CkaInputs& in, const CkaOptions& o) {
    Values want;
    for (std::int64_t h = 0; h < in.x.heads; ++h) {
        want["linear"].push_back(align(products(in.x, h), products(in.y, h)));
        want["gaussian"].push_back(align(gaussian(in.x, h, o.sigma), gaussian(in.y, h, o.sigma)));
    }
    return want;
}

TEST(Cka, EqualsItsDefinition) {
    Memory memory;
    for (const auto& [heads, tokens, dim_x, dim_y] :
         {std::array<std::int64_t, 4>{1, 2, 1, 1}, {3, 23, 8, 5}, {4, 9, 5, 17}})
        for (const std::optional<double> sigma : {std::optional<double>(), std::optional(2.5)}) {
            const CkaInputs x{memory.heads(heads, tokens, dim_x), memory.heads(heads, tokens, dim_y)};
            expect_values<call>(x, {sigma}, definition(x, {sigma}));
        }
}

TEST(Cka, IsOneOfASetAndItsTurnedCopy) {
    Memory memory;
    const View x = memory.heads(2, 11, 2), y = memory.heads(2, 11, 2);
    for (std::int64_t h = 0; h < 2; ++h)
        for (std::int64_t t = 0; t < 11; ++t) {
            float* const row = const_cast<float*>(y.row(h, t));
            row[0] = 0.6f * x.row(h, t)[0] - 0.8f * x.row(h, t)[1] + 7;
            row[1] = 0.8f * x.row(h, t)[0] + 0.6f * x.row(h, t)[1] - 3;
        }
    expect_values<call>({x, y}, {}, {{"linear", {1, 1}}, {"gaussian", {1, 1}}});
}

TEST(CkaErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const CkaInputs x{memory.heads(2, 5, 3), memory.heads(2, 5, 4)};
    expect_bad_tensors_refused<call>(x, {});
    EXPECT_TRUE(refuses_options<call>(x, {}, [](auto& o) { o.sigma = 0; }, {"cka", "sigma"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.x.tokens = in.y.tokens = 1; }, {"tokens", "1", "2"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.y.token_stride = 0; }, {"head", "0", "sigma"}));
}

}  // namespace
}  // namespace attenta_test
