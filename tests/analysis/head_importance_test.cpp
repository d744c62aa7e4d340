// Head importance equals its definition, with and without a mask of tokens; pruning leaves heads to every layer; its own errors.
#include <attenta/analysis/head_importance.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::HeadImportanceInputs, analysis::HeadImportanceOptions, analysis::ImportancePer;
constexpr auto call = &analysis::head_importance;

Values definition(const HeadImportanceInputs& x, const HeadImportanceOptions& o) {
    const std::int64_t samples = x.o.size(0), layers = x.o.size(1), heads = x.o.size(2), tokens = x.o.size(3),
                       dim = x.o.size(4);
    const auto real = [&](std::int64_t n, std::int64_t t) {
        return !x.token_mask || x.token_mask.data[n * tokens + t];
    };
    double count = 0;
    for (std::int64_t n = 0; n < samples; ++n)
        for (std::int64_t t = 0; t < tokens; ++t) count += real(n, t);
    std::vector<double> importance;
    for (std::int64_t h = 0; h < layers * heads; ++h) {
        double per_sample = 0, per_token = 0;
        for (std::int64_t n = 0; n < samples; ++n) {
            double sum = 0;
            for (std::int64_t t = 0; t < tokens; ++t) {
                double c = 0;
                for (std::int64_t e = 0; e < dim && real(n, t); ++e) {
                    const std::int64_t at = ((n * layers * heads + h) * tokens + t) * dim + e;
                    c += double{x.o.data[at]} * double{x.grad_o.data[at]};
                }
                sum += c;
                per_token += std::abs(c);
            }
            per_sample += std::abs(sum);
        }
        importance.push_back(o.per == ImportancePer::sample ? per_sample / static_cast<double>(samples)
                                                            : per_token / count);
    }
    for (std::int64_t l = 0; l < layers && o.normalize; ++l) {
        double squares = 0;
        for (std::int64_t h = 0; h < heads; ++h)
            squares += std::pow(importance[static_cast<std::size_t>(l * heads + h)], 2);
        for (std::int64_t h = 0; h < heads; ++h)
            importance[static_cast<std::size_t>(l * heads + h)] /= std::sqrt(squares) + 1e-20;
    }
    std::vector<std::size_t> order(importance.size());
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return importance[a] < importance[b]; });
    Values want;
    want["importance"] = importance;
    want["order"].assign(order.begin(), order.end());
    want["head_mask"].assign(importance.size(), 1);
    std::int64_t left = o.prune;
    for (const std::size_t h : order) {
        // Heads of its layer that come later in the order stay rather than it does.
        const auto layer = h / static_cast<std::size_t>(heads);
        const auto later = std::count_if(std::find(order.begin(), order.end(), h) + 1, order.end(),
                                         [&](std::size_t g) { return g / static_cast<std::size_t>(heads) == layer; });
        if (left == 0 || later < o.min_heads) continue;
        want["head_mask"][h] = 0;
        --left;
    }
    return want;
}

HeadImportanceInputs drawn(Memory& memory, const std::array<std::int64_t, 5>& sizes, bool masked) {
    HeadImportanceInputs x{memory.normals(sizes), memory.normals(sizes)};
    if (!masked) return x;
    std::vector<std::int64_t> mask;
    for (std::int64_t i = 0; i < sizes[0] * sizes[3]; ++i) mask.push_back(i % 3 != 2);
    x.token_mask = {memory.indices(mask).data(), {sizes[0], sizes[3]}};
    return x;
}

TEST(HeadImportance, EqualsItsDefinition) {
    Memory memory;
    for (const auto& sizes :
         {std::array<std::int64_t, 5>{1, 1, 1, 1, 1}, {3, 2, 3, 9, 8}, {2, 3, 4, 17, 5}, {1, 2, 5, 1, 33}})
        for (const bool masked : {false, true})
            for (const ImportancePer per : {ImportancePer::sample, ImportancePer::token})
                for (const bool normalize : {false, true})
                    for (const std::int64_t min_heads : {0, 1}) {
                        const auto x = drawn(memory, sizes, masked);
                        const HeadImportanceOptions o{per, normalize, 4, min_heads};
                        expect_values<call>(x, o, definition(x, o));
                    }
}

/// Of equal heads the later ones stay.
TEST(HeadImportance, KeepsTheLaterOfEqualHeads) {
    Memory memory;
    const std::vector<float> ones(4, 1.f);
    const HeadImportanceInputs x{{memory.vector(ones).data(), {1, 1, 4, 1, 1}},
                                 {memory.vector(ones).data(), {1, 1, 4, 1, 1}}};
    expect_values<call>(x, {.normalize = false, .prune = 9, .min_heads = 2},
                        {{"importance", {1, 1, 1, 1}}, {"order", {0, 1, 2, 3}}, {"head_mask", {0, 0, 1, 1}}});
}

TEST(HeadImportanceErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const auto x = drawn(memory, {2, 2, 3, 4, 5}, true);
    expect_bad_tensors_refused<call>(x, {});
    EXPECT_TRUE(refuses_options<call>(x, {}, [](auto& o) { o.prune = -1; }, {"head_importance", "prune"}));
    EXPECT_TRUE(refuses_options<call>(x, {}, [](auto& o) { o.min_heads = 4; }, {"min_heads", "4", "3"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.grad_o.sizes[3] = 3; }, {"grad_o", "3", "4"}));
    EXPECT_TRUE(refuses_inputs<call>(
        x, {}, [&](auto& in) { in.token_mask.data = memory.indices(std::vector<std::int64_t>(8, 0)).data(); },
        {"token_mask"}));
}

}  // namespace
}  // namespace attenta_test
