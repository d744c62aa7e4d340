// The attention lens equals its definition; equal logits keep their order; own errors.
#include <attenta/analysis/attention_lens.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::AttentionLensInputs, analysis::AttentionLensOptions;
constexpr auto call = &analysis::attention_lens;

Values definition(const AttentionLensInputs& x, const AttentionLensOptions& o) {
    const std::int64_t heads = x.head_out.size(0), tokens = x.head_out.size(1), dim = x.head_out.size(2),
                       words = x.lens_b.size(1);
    const auto logit = [&](std::int64_t h, std::int64_t t, std::int64_t w) {
        double sum = double{x.lens_b.data[h * words + w]};
        for (std::int64_t d = 0; d < dim; ++d)
            sum +=
                double{x.head_out.data[(h * tokens + t) * dim + d]} * double{x.lens_w.data[(h * dim + d) * words + w]};
        return sum;
    };
    Values want;
    for (std::int64_t t = 0; t < tokens; ++t)
        for (std::int64_t w = 0; w < words; ++w) {
            double sum = 0;
            for (std::int64_t h = 0; h < heads; ++h) sum += logit(h, t, w);
            want["logits"].push_back(sum);
        }
    for (std::int64_t h = 0; h < heads; ++h) {
        std::vector<double> last;
        for (std::int64_t w = 0; w < words; ++w) last.push_back(logit(h, tokens - 1, w));
        std::vector<std::size_t> order(last.size());
        std::iota(order.begin(), order.end(), 0u);
        std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return last[a] > last[b]; });
        want["head_logits"].insert(want["head_logits"].end(), last.begin(), last.end());
        want["top_tokens"].insert(want["top_tokens"].end(), order.begin(), order.begin() + o.top);
    }
    return want;
}

AttentionLensInputs drawn(Memory& memory, std::int64_t heads, std::int64_t tokens, std::int64_t dim,
                          std::int64_t words) {
    return {memory.normals<3>({heads, tokens, dim}), memory.normals<3>({heads, dim, words}),
            memory.normals<2>({heads, words})};
}

TEST(AttentionLens, EqualsItsDefinition) {
    Memory memory;
    for (const auto& [heads, tokens, dim, words, top] :
         {std::array<std::int64_t, 5>{1, 1, 1, 1, 1}, {3, 7, 12, 41, 5}, {4, 9, 17, 33, 33}, {2, 1, 24, 57, 10}}) {
        const auto x = drawn(memory, heads, tokens, dim, words);
        expect_values<call>(x, {top}, definition(x, {top}));
    }
}

TEST(AttentionLens, ListsTheFirstOfEqualTokens) {
    Memory memory;
    const std::vector<float> zeros(6, 0.f);
    const AttentionLensInputs x{{memory.vector({0.f}).data(), {1, 1, 1}},
                                {memory.vector(zeros).data(), {1, 1, 6}},
                                {memory.vector({1.f, 2.f, 2.f, 1.f, 2.f, 0.f}).data(), {1, 6}}};
    expect_values<call>(
        x, {4}, {{"logits", {1, 2, 2, 1, 2, 0}}, {"head_logits", {1, 2, 2, 1, 2, 0}}, {"top_tokens", {1, 2, 4, 0}}});
}

TEST(AttentionLensErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const auto x = drawn(memory, 2, 3, 4, 9);
    expect_bad_tensors_refused<call>(x, {});
    EXPECT_TRUE(refuses_options<call>(x, {}, [](auto& o) { o.top = 0; }, {"attention_lens", "top", "0"}));
    EXPECT_TRUE(refuses_options<call>(x, {}, [](auto& o) { o.top = 10; }, {"top", "10", "9"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.lens_w.sizes[1] = 3; }, {"lens_w", "3", "4"}));
}

}  // namespace
}  // namespace attenta_test
