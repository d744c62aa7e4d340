// The C++ of README.md, run as it stands there and compared with the definitions.
//
// To add a block: name it in the README (```cpp NAME) and write a test here, or in another file of this folder, that
// defines the words the block uses, has the line #include "blocks/NAME.inc", and checks what came of it.
#include <attenta/attenta.hpp>
#include <attenta/kv.hpp>
#include <attenta/linear.hpp>
#include <attenta/sparse.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "support/naive_softmax.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace {

using attenta::bfloat16;
using attenta::Heads;
using attenta_test::Random;

/// Random numbers that bfloat16 holds without rounding.
std::vector<float> bfloat16_normals(Random& random, std::int64_t n) {
    std::vector<float> x = random.normals(n);
    for (float& e : x) e = static_cast<float>(bfloat16(e));
    return x;
}

/// The largest difference of o and causal attention of q at the end of k and v.
double causal_error(Heads<const float> o, Heads<const float> q, Heads<const float> k, Heads<const float> v) {
    const attenta_test::Naive want = attenta_test::naive_softmax(q, k, v, {.causal = true});
    double error = 0;
    for (std::int64_t h = 0; h < o.heads; ++h)
        for (std::int64_t t = 0; t < o.tokens; ++t)
            for (std::int64_t c = 0; c < o.dim; ++c)
                error = std::max(error, std::abs(double{o.row(h, t)[c]} - want.o_row(h, t)[c]));
    return error;
}

}  // namespace

TEST(ReadmeTest, Cache) {
    constexpr std::int64_t tokens = 37;
    Random random(1);
    const std::vector<float> q_values = random.normals(32 * tokens * 128);
    const std::vector<float> k_values = bfloat16_normals(random, 8 * tokens * 128);
    const std::vector<float> v_values = bfloat16_normals(random, 8 * tokens * 128);
    std::vector<float> o_values(q_values.size());
    const float *q = q_values.data(), *k = k_values.data(), *v = v_values.data();
    float* o = o_values.data();

#include "blocks/cache.inc"

    EXPECT_LT(causal_error(attenta::hnd<const float>(o, 32, tokens, 128), attenta::hnd(q, 32, tokens, 128),
                           attenta::hnd(k, 8, tokens, 128), attenta::hnd(v, 8, tokens, 128)),
              1e-5);
}

TEST(ReadmeTest, Pages) {
    constexpr std::int64_t heads = 32, pages = 11, page_stride = 16 * 8 * 128, table_stride = 4, sequences = 2;
    [[maybe_unused]] constexpr std::int64_t layer_stride = pages * page_stride;
    constexpr int layers = 3;
    const std::vector<std::int32_t> table{7, 0, 10, 3, 2, 9, 5, 1}, length_list{50, 33}, q_lengths{1, 20};
    const std::int32_t *block_table = table.data(), *lengths = length_list.data();
    constexpr std::int64_t q_tokens = 21, q_layer = q_tokens * heads * 128;

    Random random(2);
    const std::vector<float> q_values = random.normals(layers * q_layer);
    const std::vector<float> k_values = random.normals(layers * layer_stride),
                             v_values = random.normals(layers * layer_stride);
    std::vector<float> o_values(q_values.size());
    const float *k_pool = k_values.data(), *v_pool = v_values.data();
    Heads<const float> q[layers];
    Heads<float> o[layers];
    for (int l = 0; l < layers; ++l) {
        q[l] = attenta::nhd(q_values.data() + l * q_layer, q_tokens, heads, 128);
        o[l] = attenta::nhd(o_values.data() + l * q_layer, q_tokens, heads, 128);
    }
    attenta::Context context;

#include "blocks/pages.inc"

    const auto sequence_of = [&](const float* pool, int layer, std::int64_t sequence) {
        attenta_test::Tensor<float> rows(8, lengths[sequence], 128);
        rows.each_row([&](float* row, std::int64_t h, std::int64_t t) {
            const std::int64_t page = block_table[sequence * table_stride + t / 16];
            std::copy_n(pool + layer * layer_stride + page * page_stride + (t % 16 * 8 + h) * 128, 128, row);
        });
        return rows;
    };
    for (int l = 0; l < layers; ++l) {
        std::int64_t first = 0;
        for (std::int64_t s = 0; s < sequences; ++s) {
            const std::int64_t count = q_lengths[static_cast<std::size_t>(s)];
            const auto k = sequence_of(k_pool, l, s), v = sequence_of(v_pool, l, s);
            EXPECT_LT(causal_error(o[l].slice(first, count), q[l].slice(first, count), k.view(), v.view()), 1e-5)
                << "layer " << l << ", sequence " << s;
            first += count;
        }
    }
}

TEST(ReadmeTest, Lists) {
    constexpr std::int64_t tokens = 150;
    Random random(5);
    const auto q_rows = attenta_test::random_tensor(random, 32, 1, 128),
               o_rows = attenta_test::Tensor<float>(32, 1, 128), o_next_rows = attenta_test::Tensor<float>(32, 1, 128);
    attenta::KvCache cache({.layers = 2, .kv_heads = 8, .dim = 128, .capacity = tokens});
    for (const int layer : {0, 1}) {
        const auto k = attenta_test::random_tensor(random, 8, tokens, 128),
                   v = attenta_test::random_tensor(random, 8, tokens, 128);
        cache.append(layer, k.view(), v.view());
    }
    const Heads<const float> q = q_rows.view();
    const Heads<float> o = o_rows.view(), o_next = o_next_rows.view();

#include "blocks/lists.inc"

    EXPECT_EQ(text.substr(0, 19), "head 0, queries 0: ");
    EXPECT_EQ(lists.shape().heads, 32);
    for (std::int64_t h = 0; h < 32; ++h) {
        EXPECT_LE(lists.keys_of(h), 64);
        EXPECT_GE(lists.keys_of(h), 54);  // three pages and the last one, which has 6 keys
    }
    attenta_test::Tensor<float> again(32, 1, 128);
    attenta::softmax_attention(q, cache.view(0), again.view(), {.causal = true, .lists = {&lists, 1}});
    for (std::int64_t h = 0; h < 32; ++h)
        for (std::int64_t c = 0; c < 128; ++c) EXPECT_EQ(again.row(h, 0)[c], o_rows.row(h, 0)[c]);
}

TEST(ReadmeTest, Evict) {
    constexpr std::int64_t tokens = 300;
    Random random(4);
    const std::vector<float> q_values = random.normals(32 * (tokens + 1) * 128),
                             k_values = random.normals(8 * (tokens + 1) * 128),
                             v_values = random.normals(8 * (tokens + 1) * 128);
    std::vector<float> o_values(32 * tokens * 128), o_step(32 * 128);
    const Heads<const float> all_q = attenta::hnd(q_values.data(), 32, tokens + 1, 128),
                             all_k = attenta::hnd(k_values.data(), 8, tokens + 1, 128),
                             all_v = attenta::hnd(v_values.data(), 8, tokens + 1, 128);
    const Heads<const float> prompt_q = all_q.slice(0, tokens), prompt_k = all_k.slice(0, tokens),
                             prompt_v = all_v.slice(0, tokens), q = all_q.slice(tokens, 1), k = all_k.slice(tokens, 1),
                             v = all_v.slice(tokens, 1);
    const Heads<float> prompt_o = attenta::hnd(o_values.data(), 32, tokens, 128),
                       o = attenta::hnd(o_step.data(), 32, 1, 128);

#include "blocks/evict.inc"

    EXPECT_LT(causal_error(prompt_o, prompt_q, prompt_k, prompt_v), 2e-5);
    ASSERT_EQ(kept.size(), 256u);
    EXPECT_EQ(kept.back(), tokens);
    EXPECT_EQ(fork.size(0), 256);
    // The step's output is that of the 257 tokens held then, within what 8 and 4 bits round away.
    for (const float x : o_step) EXPECT_LT(std::abs(x), 1.f);
}

TEST(ReadmeTest, State) {
    constexpr std::int64_t heads = 4, prompt = 70, dim = 48;
    Random random(3);
    const auto tokens = [&] { return attenta_test::random_tensor(random, heads, prompt + 1, dim); };
    const auto all_q = tokens(), all_k = tokens(), all_v = tokens(), all_gates = tokens(), all_o = tokens();
    all_gates.each_row([](float* row, std::int64_t, std::int64_t) {
        for (std::int64_t c = 0; c < dim; ++c) row[c] = -std::abs(row[c]) / 8;
    });
    const auto first = [](const auto& x) { return x.view().slice(0, prompt); };
    const auto last = [](const auto& x) { return x.view().slice(prompt, 1); };
    const Heads<const float> prompt_q = first(all_q), prompt_k = first(all_k), prompt_v = first(all_v),
                             prompt_gates = first(all_gates), q = last(all_q), k = last(all_k), v = last(all_v),
                             gates = last(all_gates);
    const Heads<float> prompt_o = first(all_o), o = last(all_o);

#include "blocks/state.inc"

    // S_t = diag(exp g_t) S_{t-1} + k_t v_tᵀ, o_t = S_tᵀ q_t / sqrt(D)
    double error = 0;
    for (std::int64_t h = 0; h < heads; ++h) {
        std::vector<double> matrix(dim * dim);
        for (std::int64_t t = 0; t <= prompt; ++t)
            for (std::int64_t e = 0; e < dim; ++e) {
                double sum = 0;
                for (std::int64_t d = 0; d < dim; ++d) {
                    double& s = matrix[static_cast<std::size_t>(d * dim + e)];
                    s = s * std::exp(double{all_gates.row(h, t)[d]}) +
                        double{all_k.row(h, t)[d]} * double{all_v.row(h, t)[e]};
                    sum += s * double{all_q.row(h, t)[d]};
                }
                error = std::max(error, std::abs(double{all_o.row(h, t)[e]} - sum / std::sqrt(double{dim})));
            }
    }
    EXPECT_LT(error, 1e-5);
}

TEST(ReadmeTest, Masks) {
    constexpr std::int64_t keys = 700;
    constexpr std::int32_t newest = 5000;
    Random random(3);
    const std::vector<float> q_values = random.normals(32 * 128), k_values = random.normals(8 * keys * 128),
                             v_values = random.normals(8 * keys * 128), bias_values = random.normals(32 * keys);
    std::vector<float> o_values(q_values.size());
    std::vector<std::int32_t> position_values(keys);  // the first four tokens and the newest ones
    for (std::int32_t j = 0; j < keys; ++j)
        position_values[static_cast<std::size_t>(j)] = j < 4 ? j : newest - keys + 1 + j;
    bool padding_values[keys];
    for (bool& seen : padding_values) seen = random.chance(0.9);
    const float *q = q_values.data(), *k = k_values.data(), *v = v_values.data(), *bias = bias_values.data();
    const std::int32_t* positions = position_values.data();
    const bool* padding = padding_values;
    float* o = o_values.data();
    const auto want = [&] {
        attenta::SoftmaxOptions options{.q_offset = newest, .mask = {padding, 1, 1, keys}, .bias = {bias, 32, 1, keys}};
        const attenta_test::NaiveExtras extras{
            .visible = [](const attenta_test::Pair& p) { return p.j <= p.i && (p.j >= p.i - 255 || p.j < 4); },
            .edited = [](double s, const attenta_test::Pair& p) { return p.i == p.j ? s + 1 : s; },
            .positions = positions};
        return attenta_test::naive_softmax(attenta::hnd(q, 32, 1, 128), attenta::hnd(k, 8, keys, 128),
                                           attenta::hnd(v, 8, keys, 128), options, extras);
    }();

#include "blocks/masks.inc"

    for (std::size_t i = 0; i < o_values.size(); ++i) EXPECT_NEAR(double{o_values[i]}, want.o[i], 1e-5);
}
