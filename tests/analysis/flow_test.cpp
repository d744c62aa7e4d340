// Flow equals the maximum flow of its definition through one, two and more layers; what leaves a position is at most 1; its own errors.
#include <attenta/analysis/flow.hpp>

#include <limits>

#include "analysis/support/layers.hpp"

namespace attenta_test {
namespace {

using analysis::FlowInputs, analysis::FlowOptions;
constexpr auto call = &analysis::flow;

/// Shortest augmenting paths on a copy of the capacities (Edmonds and Karp).
double max_flow(Square c, std::int64_t source, std::int64_t sink) {
    double total = 0;
    for (;;) {
        std::vector<std::int64_t> parent(static_cast<std::size_t>(c.size()), -1), queue{source};
        parent[static_cast<std::size_t>(source)] = source;
        for (std::size_t at = 0; at < queue.size(); ++at)
            for (std::int64_t to = 0; to < c.size(); ++to)
                if (c(queue[at], to) > 1e-14 && parent[static_cast<std::size_t>(to)] < 0) {
                    parent[static_cast<std::size_t>(to)] = queue[at];
                    queue.push_back(to);
                }
        if (parent[static_cast<std::size_t>(sink)] < 0) return total;
        const auto each_edge = [&](auto&& f) {
            for (std::int64_t v = sink; v != source; v = parent[static_cast<std::size_t>(v)])
                f(parent[static_cast<std::size_t>(v)], v);
        };
        double most = std::numeric_limits<double>::infinity();
        each_edge([&](std::int64_t u, std::int64_t v) { most = std::min(most, c(u, v)); });
        each_edge([&](std::int64_t u, std::int64_t v) {
            c(u, v) -= most;
            c(v, u) += most;
        });
        total += most;
    }
}

Values definition(const FlowInputs& x, const FlowOptions& o) {
    const std::int64_t n = x.attn.size(2), top = o.layer < 0 ? x.attn.size(0) - 1 : o.layer;
    const auto layers = mean_layers(x.attn, o.residual);
    Square capacity((top + 2) * n);
    for (std::int64_t l = 0; l <= top; ++l)
        for (std::int64_t i = 0; i < n; ++i)
            for (std::int64_t j = 0; j < n; ++j)
                capacity((l + 1) * n + i, l * n + j) = layers[static_cast<std::size_t>(l)](i, j);
    Values want;
    want["relevance"].assign(static_cast<std::size_t>(n), 0);
    for (std::int64_t i = 0; i < n; ++i) {
        std::vector<double> row;
        for (std::int64_t j = 0; j < n; ++j) row.push_back(max_flow(capacity, (top + 1) * n + i, j));
        const double sum = std::accumulate(row.begin(), row.end(), 0.0);
        for (std::size_t j = 0; j < row.size(); ++j) {
            want["flow"].push_back(row[j]);
            want["weights"].push_back(sum > 0 ? row[j] / sum : 0);
            want["relevance"][j] = std::max(want["relevance"][j], want["weights"].back());
        }
    }
    return want;
}

TEST(Flow, EqualsItsDefinition) {
    Memory memory;
    for (const auto& sizes :
         {std::array<std::int64_t, 4>{1, 1, 1, 1}, {1, 2, 7, 7}, {2, 3, 11, 11}, {3, 2, 7, 7}, {5, 1, 6, 6}})
        for (const bool causal : {false, true})
            for (const double residual : {0.5, 0.0, 0.2}) {
                const FlowInputs x{memory.weights(sizes, causal, 3)};
                expect_values<call>(x, {residual}, definition(x, {residual}));
                expect_values<call>(x, {residual, sizes[0] / 2}, definition(x, {residual, sizes[0] / 2}));
            }
}

TEST(Flow, IsAtMostWhatLeavesAPosition) {
    Memory memory;
    const FlowInputs x{memory.weights<4>({4, 2, 20, 20})};
    Outputs<call> out(x, {});
    analysis::flow(x, out.list, {});
    const Values values = out.values();
    for (const double f : values.at("flow")) {
        EXPECT_GT(f, 0);
        EXPECT_LE(f, 1 + 1e-6);
    }
}

TEST(FlowErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const FlowInputs x{memory.weights<4>({3, 2, 5, 5})};
    expect_bad_tensors_refused<call>(x, {});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(x, {}, change, words);
    };
    EXPECT_TRUE(refused([](auto& o) { o.residual = 1.5; }, {"flow", "residual"}));
    EXPECT_TRUE(refused([](auto& o) { o.layer = 3; }, {"layer", "3", "2"}));
    EXPECT_TRUE(refused([](auto& o) { o.layer = -2; }, {"layer"}));
    const_cast<float&>(x.attn.data[5]) = -0.1f;
    EXPECT_TRUE(refused([](auto&) {}, {"attn", "0"}));
    const FlowInputs large{memory.weights<4>({3, 1, 513, 513})};
    EXPECT_TRUE(refuses_options<call>(large, {}, [](auto&) {}, {"attn", "513", "512"}));
}

}  // namespace
}  // namespace attenta_test
