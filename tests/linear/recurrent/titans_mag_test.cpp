// Titans with its memory as a gate equals its definition; its errors.
#include <attenta/linear/recurrent/titans_mag.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "linear/support/naive_titans.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::TitansMagInputs;
using attenta::TitansMagNorm;
using attenta::TitansMagOptions;

struct Case {
    Case(const TitansShape& s, std::int64_t prefix, const TitansMagOptions& chosen, std::uint64_t seed = 1,
         Order order = Order::head_token, std::int64_t pad = 0)
        : shape(s),
          options(chosen),
          random(seed),
          memory(random, s, order, pad),
          past(titans_past(random, s, true)),
          q(random_tensor(random, s.H, s.T, 10, order, pad, 1.f)),
          k(random_tensor(random, s.H, s.T, 10, order, pad, 1.f)),
          v(random_tensor(random, s.H, s.T, s.Dv, order, pad, 1.f)),
          prefix_k(random_tensor(random, s.H, prefix, 10, order, pad, 1.f)),
          prefix_v(random_tensor(random, s.H, prefix, s.Dv, order, pad, 1.f)),
          norm_attn(random_tensor(random, s.H, 1, s.Dv, Order::head_token, 0, 1.f)),
          norm_mem(random_tensor(random, s.H, 1, s.Dv, Order::head_token, 0, 1.f)) {}

    TitansMagInputs inputs() const {
        TitansMagInputs x{.q = q.view(), .k = k.view(), .v = v.view(), .memory = memory.view(0, shape.T)};
        if (prefix_k.view().tokens > 0) x.persistent_k = prefix_k.view(), x.persistent_v = prefix_v.view();
        if (options.norm == TitansMagNorm::rms) x.norm_attn = norm_attn.view(), x.norm_mem = norm_mem.view();
        return x;
    }

    TitansShape shape;
    TitansMagOptions options;
    Random random;
    TitansTensors memory;
    TitansState past;
    Tensor<float> q, k, v, prefix_k, prefix_v, norm_attn, norm_mem;
};

TitansMagOptions with_window(std::int64_t window) {
    TitansMagOptions x;
    x.window = window;
    return x;
}

Row rms(Row x, const View& weights, std::int64_t h, float eps) {
    if (!weights.data) return x;
    const double mean = naive_dot(x.data(), x) / static_cast<double>(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) x[i] *= double{weights.row(h, 0)[i]} / std::sqrt(mean + double{eps});
    return x;
}

//   y_i = softmax attention over the persistent tokens and i − window < j <= i;   o = n(y) ⊙ sigmoid(n(m))
std::vector<double> naive_titans_mag(const TitansMagInputs& x, const TitansMagOptions& options,
                                     const NaiveTitansResult& memory) {
    std::vector<double> o;
    const std::int64_t T = x.q.tokens, Dv = x.v.dim;
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::int64_t t = 0; t < T; ++t) {
            Row y(static_cast<std::size_t>(Dv));
            double sum = 0;
            const Row q = naive_row(x.q, h, x.q.heads, t);
            const auto see = [&](const View& k, const View& v, std::int64_t j) {
                const Row value = naive_row(v, h, v.heads, j);
                const double p =
                    std::exp(naive_scale(options.scale, x.q.dim) * naive_dot(q.data(), naive_row(k, h, k.heads, j)));
                sum += p;
                for (std::size_t i = 0; i < y.size(); ++i) y[i] += p * value[i];
            };
            for (std::int64_t j = 0; j < x.persistent_k.tokens; ++j) see(x.persistent_k, x.persistent_v, j);
            for (std::int64_t j = std::max<std::int64_t>(0, t - options.window + 1); j <= t; ++j) see(x.k, x.v, j);
            for (double& e : y) e /= sum;
            const double* const recalled = memory.o.data() + (h * T + t) * Dv;
            const Row m = rms(Row(recalled, recalled + Dv), x.norm_mem, h, options.eps);
            y = rms(y, x.norm_attn, h, options.eps);
            for (std::size_t i = 0; i < y.size(); ++i) o.push_back(y[i] / (1 + std::exp(-m[i])));
        }
    return o;
}

void expect_definition(const Case& c) {
    TitansOptions memory;
    memory.chunk = c.options.chunk, memory.read = c.options.read, memory.residual = c.options.residual;
    memory.loss_scale = c.options.loss_scale, memory.activation = c.options.activation;
    const TitansMagInputs x = c.inputs();
    const NaiveTitansResult recalled = naive_titans(x.memory, memory, c.past);
    const std::vector<double> want = naive_titans_mag(x, c.options, recalled);
    attenta::ThreadPool pool(3);
    Tensor<float> serial(c.shape.H, c.shape.T, c.shape.Dv);
    on_every_isa([&](Context& context) {
        Tensor<float> o(c.shape.H, c.shape.T, c.shape.Dv, Order::token_head, 3);
        TitansState state = c.past, again = c.past;
        attenta::titans_mag(x, o.view(), state, c.options, context);
        EXPECT_TRUE(close_to(rows_of(o), want)) << "T " << c.shape.T << " window " << c.options.window;
        EXPECT_TRUE(o.padding_is_untouched());
        for (std::size_t i = 0; i < recalled.parts.size(); ++i)
            EXPECT_TRUE(close_to(*parts_of(state)[i], recalled.parts[i])) << "part " << i;
        Context three(pool);
        attenta::titans_mag(x, serial.view(), again, c.options, three);
        EXPECT_EQ(rows_of(serial), rows_of(o));
        EXPECT_TRUE(equal_bits(again, state));
    });
}

TEST(TitansMag, EqualsItsDefinition) {
    std::uint64_t seed = 0;
    for (const std::int64_t T : {1, 2, 37, 130})
        for (const std::int64_t window : {1, 5, 500})
            for (const std::int64_t prefix : {0, 3})
                for (const std::int64_t E : {0, 11}) {
                    TitansMagOptions options = with_window(window);
                    ++seed;
                    options.norm = seed % 3 == 0 ? TitansMagNorm::none : TitansMagNorm::rms;
                    options.chunk = seed % 2 == 0 ? 6 : 1;
                    if (seed % 4 == 0) options.scale = 0.5f, options.eps = 0.1f;
                    expect_definition(Case({2, T, 9, 12, E}, prefix, options, seed,
                                           seed % 2 == 0 ? Order::head_token : Order::token_head,
                                           seed % 3 == 0 ? 3 : 0));
                }
}

TEST(TitansMag, ItsMemoryHasTheOptionsOfTitans) {
    TitansMagOptions options = with_window(4);
    options.chunk = 7, options.read = TitansRead::before, options.loss_scale = 0.5f;
    options.activation = TitansActivation::silu, options.residual = true;
    expect_definition(Case({2, 30, 12, 12, 11}, 2, options));
}

template <class Spoil>
testing::AssertionResult refused(std::initializer_list<std::string_view> words, Spoil&& spoil,
                                 TitansMagOptions options = with_window(3)) {
    const Case c({2, 6, 8, 12, 0}, 2, options);
    TitansMagInputs x = c.inputs();
    Tensor<float> memory(2, 6, 12);
    Out o = memory.view();
    TitansState state = c.past;
    spoil(x, o, options);
    const std::vector<float> before = memory.memory();
    const auto call = [&] { attenta::titans_mag(x, o, state, options); };
    testing::AssertionResult result = refuses(call, {"titans_mag"});
    if (result) result = refuses(call, words);
    if (!result) return result;
    if (!equal_bits(before, memory.memory())) return testing::AssertionFailure() << "o was written";
    return equal_bits(state, c.past);
}

TEST(TitansMagErrors, InputsOptionsAndOutputs) {
    const auto option = [](std::initializer_list<std::string_view> words, auto&& change) {
        return refused(words, [&](TitansMagInputs&, Out&, TitansMagOptions& x) { change(x); });
    };
    const auto input = [](std::initializer_list<std::string_view> words, auto&& change) {
        return refused(words, [&](TitansMagInputs& x, Out&, TitansMagOptions&) { change(x); });
    };
    EXPECT_TRUE(option({"window", "0", "at least 1"}, [](TitansMagOptions& x) { x.window = 0; }));
    EXPECT_TRUE(option({"chunk", "0"}, [](TitansMagOptions& x) { x.chunk = 0; }));
    EXPECT_TRUE(
        option({"scale", "inf"}, [](TitansMagOptions& x) { x.scale = std::numeric_limits<float>::infinity(); }));
    EXPECT_TRUE(option({"eps", "-1"}, [](TitansMagOptions& x) { x.eps = -1; }));
    EXPECT_TRUE(option({"norm_attn", "rms"}, [](TitansMagOptions& x) { x.norm = TitansMagNorm::none; }));
    EXPECT_TRUE(input({"norm_mem", "null"}, [](TitansMagInputs& x) { x.norm_mem = {}; }));
    EXPECT_TRUE(input({"norm_attn", "11", "12"}, [](TitansMagInputs& x) { x.norm_attn.dim = 11; }));
    EXPECT_TRUE(input({"persistent_k", "persistent_v"}, [](TitansMagInputs& x) { x.persistent_v = {}; }));
    EXPECT_TRUE(input({"persistent_v", "1", "2"}, [](TitansMagInputs& x) { x.persistent_v.tokens = 1; }));
    EXPECT_TRUE(input({"mem_k", "5", "6"}, [](TitansMagInputs& x) { x.memory.k.tokens = 5; }));
    EXPECT_TRUE(input({"mem_eta", "null"}, [](TitansMagInputs& x) { x.memory.eta = {}; }));
    EXPECT_TRUE(input({"k", "9", "10"}, [](TitansMagInputs& x) { x.k.dim = 9; }));
    EXPECT_TRUE(input({"q", "null"}, [](TitansMagInputs& x) { x.q.data = nullptr; }));
    EXPECT_TRUE(refused({"o", "null"}, [](TitansMagInputs&, Out& o, TitansMagOptions&) { o.data = nullptr; }));
    EXPECT_TRUE(
        refused({"o overlaps mem_v"}, [](TitansMagInputs& x, Out& o, TitansMagOptions&) { x.memory.v.data = o.data; }));
}

}  // namespace
}  // namespace attenta_test
