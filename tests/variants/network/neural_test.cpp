#include <attenta/variants/network/neural.hpp>

#include "naive_network.hpp"

namespace attenta_test {
namespace {

using attenta::NeuralInputs, attenta::NeuralOptions;

std::vector<double> naive_relu(std::vector<double> x) {
    for (double& e : x) e = std::max(e, 0.0);
    return x;
}

//   s = w_3·relu(W_2 relu(W_1 [W_q q + b_q; W_k k + b_k] + b_1) + b_2) + b_3
Naive definition(const NeuralInputs& x, const NeuralOptions& o) {
    const View k = k_of(x.kv);
    const std::int64_t Hq = x.q.heads, Tq = x.q.tokens, Tk = k.tokens, group = Hq / k.heads;
    const auto queries = naive_rows(x.q, [&](const auto&row) { return naive_sum(naive_linear(x.w_q, row), x.b_q); }),
               keys = naive_rows(k, [&](const auto&row) { return naive_sum(naive_linear(x.w_k, row), x.b_k); });
    const auto score = [&](std::int64_t h, std::int64_t i, std::int64_t j) {
        std::vector<double> both = queries[static_cast<std::size_t>(h * Tq + i)];
        const auto& key = keys[static_cast<std::size_t>(h / group * Tk + j)];
        both.insert(both.end(), key.begin(), key.end());
        const auto first = naive_relu(naive_sum(naive_linear(x.w_1, both), x.b_1)),
                   second = naive_relu(naive_sum(naive_linear(x.w_2, first), x.b_2));
        return naive_dot(second, wide(x.w_3.data(), static_cast<std::int64_t>(x.w_3.size()))) + double{x.b_3[0]};
    };
    return NaiveAttention{.score = score, .sees = [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                              return naive_sees(o.visibility, h, i, Tq, j, Tk);
                          }}(Hq, Tq, v_of(x.kv));
}

void set_width(AttentionCase& c, std::int64_t width, std::int64_t hidden) {
    c.sizes["N"] = width, c.sizes["2N"] = 2 * width, c.sizes["M"] = hidden, c.sizes["1"] = 1;
}

const auto& mechanism = test_attention<&attenta::neural, &definition>(
    {.name = "neural",
     .variants = {{"one channel", [](AttentionCase& c) { set_width(c, 1, 1); }},
                  {"wide", [](AttentionCase& c) { set_width(c, 16, 9); }}},
     .sizes = [](AttentionCase& c) { set_width(c, 6, 3); },
     .fill =
         [](AttentionCase& c) {
             // Scores of a few, whatever the widths.
             for (const char* name : {"w_q", "w_k"}) c.put(name, 1, c.sizes["N"], c.shape.D, 0.3f);
             c.put("w_1", 1, c.sizes["N"], c.sizes["2N"], 0.4f);
             c.put("w_2", 1, c.sizes["M"], c.sizes["N"], 0.4f);
         }});

}  // namespace
}  // namespace attenta_test
