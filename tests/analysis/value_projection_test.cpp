// Value projection equals its definition with every norm; own errors.
#include <attenta/analysis/value_projection.hpp>

#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::ProjectionNorm, analysis::ValueProjectionInputs, analysis::ValueProjectionOptions;
constexpr auto call = &analysis::value_projection;
using Row = std::vector<double>;

Row normed(Row x, const ValueProjectionInputs& in, const ValueProjectionOptions& o) {
    if (o.norm == ProjectionNorm::none) return x;
    const auto n = static_cast<double>(x.size());
    const bool layer = o.norm == ProjectionNorm::layernorm;
    const double mean = layer ? std::accumulate(x.begin(), x.end(), 0.0) / n : 0;
    double squares = 0;
    for (double& e : x) {
        e -= mean;
        squares += e * e / n;
    }
    for (std::size_t c = 0; c < x.size(); ++c)
        x[c] = x[c] / std::sqrt(squares + o.eps) * double{in.norm_w[c]} + (layer ? double{in.norm_b[c]} : 0);
    return x;
}

Row logits(const Row& x, const ValueProjectionInputs& in) {
    const std::int64_t words = in.unembed.size(1);
    Row to(static_cast<std::size_t>(words));
    for (std::size_t c = 0; c < x.size(); ++c)
        for (std::size_t w = 0; w < to.size(); ++w)
            to[w] +=
                x[c] * double{in.unembed.data[static_cast<std::int64_t>(c) * words + static_cast<std::int64_t>(w)]};
    return to;
}

void append(Row& to, const Row& x) { to.insert(to.end(), x.begin(), x.end()); }

Values definition(const ValueProjectionInputs& x, const ValueProjectionOptions& o) {
    const std::int64_t heads = x.w_o.size(0), dim_v = x.w_o.size(1), dim = x.w_o.size(2);
    Values want;
    for (std::int64_t h = 0; h < heads; ++h) {
        Row out(static_cast<std::size_t>(dim));
        for (std::int64_t j = 0; j < x.v.tokens; ++j) {
            Row memory(static_cast<std::size_t>(dim));
            for (std::int64_t e = 0; e < dim_v; ++e)
                for (std::int64_t c = 0; c < dim; ++c)
                    memory[static_cast<std::size_t>(c)] +=
                        double{x.v.row(h / (heads / x.v.heads), j)[e]} * double{x.w_o.data[(h * dim_v + e) * dim + c]};
            const double weight = double{x.attn.data[h * x.v.tokens + j]};
            double squares = 0;
            for (std::size_t c = 0; c < out.size(); ++c) {
                out[c] += weight * memory[c];
                squares += memory[c] * memory[c];
            }
            append(want["value_logits"], logits(normed(memory, x, o), x));
            want["value_weight"].push_back(weight * std::sqrt(squares));
        }
        append(want["head_out"], out);
        Row probs = logits(normed(out, x, o), x);
        double sum = 0, rank = 1;
        for (double& p : probs) sum += p = std::exp(p);
        for (double& p : probs) p /= sum;
        for (const double p : probs) rank += p > probs[static_cast<std::size_t>(o.target)];
        std::vector<std::size_t> order(probs.size());
        std::iota(order.begin(), order.end(), 0u);
        std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return probs[a] > probs[b]; });
        append(want["head_probs"], probs);
        want["rank"].push_back(rank);
        want["top_tokens"].insert(want["top_tokens"].end(), order.begin(), order.begin() + o.top);
    }
    return want;
}

ValueProjectionInputs drawn(Memory& memory, std::int64_t heads, std::int64_t kv_heads, std::int64_t keys,
                            std::int64_t dim_v, std::int64_t dim, std::int64_t words) {
    return {memory.weights<2>({heads, keys}),
            memory.heads(kv_heads, keys, dim_v),
            memory.normals<3>({heads, dim_v, dim}, 0.4f),
            memory.normals<2>({dim, words}, 0.2f),
            memory.vector(memory.random.normals(dim)),
            memory.vector(memory.random.normals(dim))};
}

TEST(ValueProjection, EqualsItsDefinition) {
    Memory memory;
    for (const auto& [heads, kv_heads, keys, dim_v, dim, words, top] :
         {std::array<std::int64_t, 7>{1, 1, 1, 1, 2, 1, 1},
          {4, 2, 9, 6, 24, 31, 3},
          {3, 3, 5, 8, 17, 43, 5},
          {2, 1, 70, 5, 12, 19, 1}})
        for (const ProjectionNorm norm : {ProjectionNorm::layernorm, ProjectionNorm::rms, ProjectionNorm::none}) {
            const auto x = drawn(memory, heads, kv_heads, keys, dim_v, dim, words);
            const ValueProjectionOptions o{norm, 1e-4, words / 2, top};
            expect_values<call>(x, o, definition(x, o));
        }
}

TEST(ValueProjectionErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const auto x = drawn(memory, 4, 2, 5, 6, 8, 9);
    expect_bad_tensors_refused<call>(x, {});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(x, {}, change, words);
    };
    EXPECT_TRUE(refused([](auto& o) { o.target = 9; }, {"value_projection", "target", "9", "8"}));
    EXPECT_TRUE(refused([](auto& o) { o.top = 10; }, {"top", "10", "9"}));
    EXPECT_TRUE(refused([](auto& o) { o.eps = -1; }, {"eps"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.norm_b = {}; }, {"norm_b"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.norm_w = {}; }, {"norm_w"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.w_o.sizes[1] = 5; }, {"w_o", "5", "6"}));
}

}  // namespace
}  // namespace attenta_test
