// Contributions to an image's representation equal their definition and add up to the normed and projected class token; own errors.
#include <attenta/analysis/clip_decomposition.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::ClipDecompositionInputs, analysis::ClipDecompositionOptions;
constexpr auto call = &analysis::clip_decomposition;
using Row = std::vector<double>;

struct Sizes {
    std::int64_t layers, heads, tokens, dim_v, dim, width;
};

ClipDecompositionInputs drawn(Memory& memory, const Sizes& n) {
    const float small = 1 / std::sqrt(static_cast<float>(n.heads * n.dim_v));
    return {memory.weights<3>({n.layers, n.heads, n.tokens}),
            memory.normals<4>({n.layers, n.heads, n.tokens, n.dim_v}),
            memory.normals<4>({n.layers, n.heads, n.dim_v, n.dim}, small),
            memory.normals<2>({n.layers, n.dim}, 0.1f),
            memory.normals<2>({n.layers + 1, n.dim}, 0.7f),
            memory.vector(memory.random.normals(n.dim)),
            memory.vector(memory.random.normals(n.dim)),
            memory.normals<2>({n.dim, n.width}, 1 / std::sqrt(static_cast<float>(n.dim)))};
}

/// What a head writes of a token into the class token.
Row written(const ClipDecompositionInputs& x, std::int64_t layer, std::int64_t head, std::int64_t token) {
    const std::int64_t heads = x.attn.size(1), tokens = x.attn.size(2), dim_v = x.v.size(3), dim = x.b_o.size(1),
                       at = layer * heads + head;
    Row c;
    for (std::int64_t j = 0; j < dim; ++j) {
        double sum = 0;
        for (std::int64_t i = 0; i < dim_v; ++i)
            sum += double{x.v.data[(at * tokens + token) * dim_v + i]} * double{x.w_o.data[(at * dim_v + i) * dim + j]};
        c.push_back(double{x.attn.data[at * tokens + token]} * sum +
                    double{x.b_o.data[layer * dim + j]} / static_cast<double>(tokens * heads));
    }
    return c;
}

Row fed_forward(const ClipDecompositionInputs& x, std::int64_t m) {
    return {x.mlp.data + m * x.mlp.size(1), x.mlp.data + (m + 1) * x.mlp.size(1)};
}

void add(Row& to, const Row& x) {
    for (std::size_t c = 0; c < to.size(); ++c) to[c] += x[c];
}

/// The class token before the last norm.
Row class_token(const ClipDecompositionInputs& x) {
    Row z(static_cast<std::size_t>(x.b_o.size(1)));
    for (std::int64_t l = 0; l < x.attn.size(0); ++l)
        for (std::int64_t h = 0; h < x.attn.size(1); ++h)
            for (std::int64_t n = 0; n < x.attn.size(2); ++n) add(z, written(x, l, h, n));
    for (std::int64_t m = 0; m < x.mlp.size(0); ++m) add(z, fed_forward(x, m));
    return z;
}

/// (norm_w (c − μ / parts) / σ + norm_b / parts) P, with μ and σ of z.
Row projected(const ClipDecompositionInputs& x, const Row& z, double eps, const Row& c, double parts) {
    const auto channels = static_cast<double>(z.size());
    const double mean = std::accumulate(z.begin(), z.end(), 0.0) / channels;
    double variance = 0;
    for (const double a : z) variance += (a - mean) * (a - mean) / channels;
    Row to(static_cast<std::size_t>(x.projection.size(1)));
    for (std::size_t i = 0; i < z.size(); ++i) {
        const double normed =
            double{x.norm_w[i]} * (c[i] - mean / parts) / std::sqrt(variance + eps) + double{x.norm_b[i]} / parts;
        for (std::size_t e = 0; e < to.size(); ++e) to[e] += normed * double{x.projection.data[i * to.size() + e]};
    }
    return to;
}

Values definition(const ClipDecompositionInputs& x, const ClipDecompositionOptions& o) {
    const Row z = class_token(x), whole = projected(x, z, o.eps, z, 1);
    const double length = std::sqrt(std::inner_product(whole.begin(), whole.end(), whole.begin(), 0.0)),
                 terms = static_cast<double>(x.attn.size(0) + x.mlp.size(0)),
                 parts = static_cast<double>(x.attn.size(1) * x.attn.size(2));
    Values want;
    want["length"] = {length};
    const auto give = [&](const char* name, const Row& row) {
        for (const double a : row) want[name].push_back(a / length);
    };
    give("representation", whole);
    for (std::int64_t l = 0; l < x.attn.size(0); ++l)
        for (std::int64_t n = 0; n < x.attn.size(2); ++n)
            for (std::int64_t h = 0; h < x.attn.size(1); ++h)
                give("contributions", projected(x, z, o.eps, written(x, l, h, n), terms * parts));
    for (std::int64_t m = 0; m < x.mlp.size(0); ++m)
        give("mlp_contributions", projected(x, z, o.eps, fed_forward(x, m), terms));
    return want;
}

TEST(ClipDecomposition, EqualsItsDefinition) {
    Memory memory;
    for (const Sizes& sizes :
         {Sizes{1, 1, 1, 1, 2, 1}, {3, 2, 10, 6, 24, 12}, {1, 5, 1, 3, 17, 9}, {2, 3, 300, 5, 33, 20}})
        for (const double eps : {0.0, 1e-5, 0.5}) {
            const auto x = drawn(memory, sizes);
            expect_values<call>(x, {eps}, definition(x, {eps}));
        }
}

/// One channel is its own mean: the norm's bias alone is left of the class token.
TEST(ClipDecomposition, TakesOneChannel) {
    Memory memory;
    const auto x = drawn(memory, {2, 2, 3, 2, 1, 3});
    expect_values<call>(x, {0.1}, definition(x, {0.1}));
}

TEST(ClipDecomposition, AddsUpToAUnitVector) {
    Memory memory;
    const auto x = drawn(memory, {4, 3, 17, 8, 32, 16});
    Outputs<call> out(x, {});
    analysis::clip_decomposition(x, out.list);
    const Values got = out.values();
    Row sum(16);
    for (const char* name : {"contributions", "mlp_contributions"})
        for (std::size_t i = 0; i < got.at(name).size(); ++i) sum[i % 16] += got.at(name)[i];
    EXPECT_TRUE(close({{"representation", sum}}, {{"representation", got.at("representation")}}));
    EXPECT_NEAR(std::inner_product(sum.begin(), sum.end(), sum.begin(), 0.0), 1, 1e-4);
}

TEST(ClipDecompositionErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const auto x = drawn(memory, {2, 3, 5, 4, 6, 7});
    expect_bad_tensors_refused<call>(x, {});
    for (const double eps : {-1e-3, std::nan(""), std::numeric_limits<double>::infinity()})
        EXPECT_TRUE(refuses_options<call>(x, {}, [=](auto& o) { o.eps = eps; }, {"clip_decomposition", "eps"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.v.sizes[2] = 4; }, {"v", "4", "5"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.mlp.sizes[0] = 2; }, {"mlp", "2 rows", "3"}));
    const auto zeros = memory.normals<2>({6, 7}, 0);
    EXPECT_TRUE(
        refuses_inputs<call>(x, {}, [&](auto& in) { in.projection = zeros; }, {"projection", "length", "above 0"}));
    const auto one_channel = drawn(memory, {2, 3, 5, 4, 1, 7});
    EXPECT_TRUE(refuses_to_write<call>(one_channel, {0}, one_channel, {0}, {"eps", "no variance", "above 0"}));
}

TEST(ClipDecompositionErrors, SaysWhatIsNotFinite) {
    Memory memory;
    const auto x = drawn(memory, {2, 3, 5, 4, 6, 7});
    for (const analysis::Operand& in : analysis::operands(x)) {
        auto* const first = static_cast<float*>(const_cast<void*>(in.data));
        const float was = *first;
        *first = std::nanf("");
        EXPECT_TRUE(refuses_to_write<call>(x, {}, x, {}, {in.name, "nan", "finite"}));
        *first = was;
    }
    const auto huge = memory.normals<4>({2, 3, 5, 4}, 1e38f);
    auto large = x;
    large.w_o = memory.normals<4>({2, 3, 4, 6}, 1e38f);
    large.v = huge;
    EXPECT_TRUE(refuses_to_write<call>(x, {}, large, {}, {"v", "class token", "finite"}));
}

}  // namespace
}  // namespace attenta_test
