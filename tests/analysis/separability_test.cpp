// Separability equals its definition, of sharp attention too; own errors.
#include <attenta/analysis/separability.hpp>

#include <limits>

#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::SeparabilityInputs, analysis::SeparabilityOptions;
constexpr auto call = &analysis::separability;
using Row = std::vector<double>;

double distance_of(const Row& x, const Row& y) {
    double sum = 0;
    for (std::size_t c = 0; c < x.size(); ++c) sum += (x[c] - y[c]) * (x[c] - y[c]);
    return std::sqrt(sum);
}

Values definition(const SeparabilityInputs& x, const SeparabilityOptions& o) {
    Values want;
    const double scale = o.scale ? double{*o.scale} : 1 / std::sqrt(static_cast<double>(x.q.dim));
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::int64_t i = 0; i < x.q.tokens; ++i) {
            const std::int64_t kv_head = h / (x.q.heads / x.k.heads);
            const NaiveRow row = naive_row(x.q, x.k, h, i, o.causal, o.scale);
            const std::size_t n = row.weights.size();
            std::vector<std::size_t> order(n);
            std::iota(order.begin(), order.end(), 0u);
            std::stable_sort(order.begin(), order.end(),
                             [&](auto a, auto b) { return row.weights[a] > row.weights[b]; });
            const auto top = std::min(n, static_cast<std::size_t>(o.top_n));
            std::vector<Row> weighted;
            double largest = 0, s2 = 0, others = 0, s4 = 0;
            for (std::size_t j = 0; j < n; ++j) {
                const auto key = static_cast<std::int64_t>(j);
                const float *k = x.k.row(kv_head, key), *v = x.v.row(kv_head, key);
                weighted.emplace_back(v, v + x.v.dim);
                for (double& e : weighted.back()) e *= row.weights[j];
                largest = std::max(largest, std::sqrt(dot(k, k, x.k.dim)));
                const double a = row.weights[j];
                s2 += a * a;
                s4 += a * a * a * a;
                others += a * a * (1 - a) * (1 - a);
            }
            Row selected(static_cast<std::size_t>(x.v.dim)), rest(selected.size());
            for (std::size_t r = 0; r < n; ++r)
                for (std::size_t c = 0; c < selected.size(); ++c)
                    (r < top ? selected : rest)[c] += weighted[order[r]][c];
            double reach = std::numeric_limits<double>::infinity(), inside = 0;
            for (std::size_t r = top; r < n; ++r) reach = std::min(reach, distance_of(weighted[order[r]], selected));
            for (std::size_t r = 0; r < top; ++r) inside += distance_of(weighted[order[r]], selected) <= reach;
            const double delta = scale * std::sqrt(dot(x.q.row(h, i), x.q.row(h, i), x.q.dim)) * largest;
            want["distance"].push_back(distance_of(rest, selected));
            want["separable"].push_back(inside / static_cast<double>(top));
            want["sensitivity"].push_back(std::sqrt(std::max(others + s2 * s2 - s4, 0.0)));
            want["log_lower"].push_back(-std::log(static_cast<double>(n)) - 2 * delta);
            want["log_upper"].push_back(-std::log(static_cast<double>(n)) + 2 * delta);
            want["lse"].push_back(row.lse);
        }
    return want;
}

TEST(Separability, EqualsItsDefinition) {
    Memory memory;
    for (const AttentionShape& s : attention_shapes())
        for (const float sharp : {1.f, 3.f})
            for (const bool causal : {false, true})
                for (const std::int64_t top : {1, 3, 1000}) {
                    const SeparabilityInputs x{memory.heads(s.query_heads, s.queries, s.dim, sharp),
                                               memory.heads(s.heads, s.keys, s.dim),
                                               memory.heads(s.heads, s.keys, s.dim_v)};
                    const SeparabilityOptions o{top, causal, causal ? std::optional(0.2f) : std::nullopt};
                    expect_values<call>(x, o, definition(x, o));
                }
}

TEST(SeparabilityErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const SeparabilityInputs x{memory.heads(4, 5, 6), memory.heads(2, 9, 6), memory.heads(2, 9, 3)};
    expect_bad_tensors_refused<call>(x, {});
    EXPECT_TRUE(refuses_options<call>(x, {}, [](auto& o) { o.top_n = 0; }, {"separability", "top_n", "0"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.v.tokens = 8; }, {"v", "8", "9"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {.top_n = 1, .causal = true}, [](auto& in) { in.k.tokens = in.v.tokens = 4; },
                                     {"q", "5", "causal", "4"}));
}

}  // namespace
}  // namespace attenta_test
