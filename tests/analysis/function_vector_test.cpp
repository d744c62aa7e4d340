// Function vectors equal their definition; ties go to the lower head; their own errors.
#include <attenta/analysis/function_vector.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::FunctionVectorInputs, analysis::FunctionVectorOptions, analysis::HeadChoice;
constexpr auto call = &analysis::function_vector;

Values definition(const FunctionVectorInputs& x, const FunctionVectorOptions& o) {
    const std::int64_t prompts = x.o.size(0), heads = x.o.count(1, 3), dim = x.o.size(3), width = x.w_o.size(3);
    std::vector<double> weight(static_cast<std::size_t>(heads));
    Values want{{"vector", std::vector<double>(static_cast<std::size_t>(width))}};
    if (o.mode == HeadChoice::top) {
        std::vector<double> effect(weight.size());
        for (std::int64_t n = 0; n < x.effect.count(); ++n)
            effect[static_cast<std::size_t>(n % heads)] += double{x.effect.data[n]};
        std::vector<std::size_t> order(weight.size());
        std::iota(order.begin(), order.end(), 0u);
        std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return effect[a] > effect[b]; });
        order.resize(static_cast<std::size_t>(o.top));
        for (const std::size_t h : order) {
            weight[h] = 1;
            want["heads"].push_back(static_cast<double>(static_cast<std::int64_t>(h) / x.o.size(2)));
            want["heads"].push_back(static_cast<double>(static_cast<std::int64_t>(h) % x.o.size(2)));
        }
    } else {
        std::copy(x.weight.data, x.weight.data + heads, weight.begin());
    }
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t e = 0; e < dim; ++e) {
            double mean = 0;
            for (std::int64_t n = 0; n < prompts; ++n)
                mean += double{x.o.data[(n * heads + h) * dim + e]} / static_cast<double>(prompts);
            want["mean"].push_back(mean);
            for (std::int64_t c = 0; c < width; ++c)
                want["vector"][static_cast<std::size_t>(c)] +=
                    weight[static_cast<std::size_t>(h)] * mean * double{x.w_o.data[(h * dim + e) * width + c]};
        }
    return want;
}

struct Sizes {
    std::int64_t prompts, effects, layers, heads, dim, width, top;
};

FunctionVectorInputs drawn(Memory& memory, const Sizes& s) {
    return {memory.normals<4>({s.prompts, s.layers, s.heads, s.dim}),
            memory.normals<4>({s.layers, s.heads, s.dim, s.width}, 1 / std::sqrt(static_cast<float>(s.dim))),
            memory.normals<3>({s.effects, s.layers, s.heads}), memory.normals<2>({s.layers, s.heads})};
}

TEST(FunctionVector, EqualsItsDefinition) {
    Memory memory;
    for (const Sizes& s : std::initializer_list<Sizes>{
             {1, 1, 1, 1, 1, 1, 1}, {5, 3, 3, 4, 6, 17, 4}, {3, 7, 2, 5, 33, 130, 10}, {40, 1, 1, 9, 16, 8, 3}}) {
        auto x = drawn(memory, s);
        expect_values<call>(x, {HeadChoice::weighted}, definition(x, {HeadChoice::weighted}));
        x.weight = {};
        expect_values<call>(x, {HeadChoice::top, s.top}, definition(x, {HeadChoice::top, s.top}));
    }
}

TEST(FunctionVector, TakesTheLowerOnesOfEqualHeads) {
    Memory memory;
    auto x = drawn(memory, {2, 1, 2, 3, 4, 5, 1});
    x.effect.data = memory.vector({0, 1, 0.5f, 1, 1, 0}).data();
    Values want = definition(x, {HeadChoice::top, 3});
    EXPECT_EQ(want["heads"], (std::vector<double>{0, 1, 1, 0, 1, 1}));
    expect_values<call>(x, {HeadChoice::top, 3}, want);
}

TEST(FunctionVectorErrors, SayWhatDoesNotFit) {
    Memory memory;
    auto x = drawn(memory, {4, 3, 2, 3, 5, 7, 2});
    const FunctionVectorOptions top{HeadChoice::top, 2};
    expect_bad_tensors_refused<call>(x, top);
    expect_bad_tensors_refused<call>(x, {HeadChoice::weighted});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_inputs<call>(x, top, change, words);
    };
    const auto options = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(x, top, change, words);
    };
    EXPECT_TRUE(options([](auto& o) { o.top = 0; }, {"function_vector", "top", "0"}));
    EXPECT_TRUE(options([](auto& o) { o.top = 7; }, {"top", "7", "6"}));
    EXPECT_TRUE(refused([](auto& in) { in.effect = {}; }, {"effect", "top"}));
    EXPECT_TRUE(
        refuses_inputs<call>(x, {HeadChoice::weighted}, [](auto& in) { in.weight = {}; }, {"weight", "weighted"}));
    EXPECT_TRUE(refused([](auto& in) { in.w_o.sizes[2] = 4; }, {"w_o", "4", "5"}));
    EXPECT_TRUE(refused([](auto& in) { in.effect.sizes[2] = 2; }, {"effect", "2", "3"}));
    const_cast<float&>(x.effect.data[4]) = std::nanf("");
    EXPECT_TRUE(refused([](auto&) {}, {"effect", "4", "finite"}));
    const_cast<float&>(x.w_o.data[11]) = std::nanf("");
    EXPECT_TRUE(refused([](auto&) {}, {"finite"}));
}

}  // namespace
}  // namespace attenta_test
