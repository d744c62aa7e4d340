#include <attenta/variants/projections/head_embedding.hpp>

#include <vector>

#include "softmax/support/naive.hpp"
#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/shapes.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::HeadEmbeddingInputs, attenta::HeadEmbeddingMode, attenta::HeadEmbeddingOptions,
    attenta::Matrices;

struct Embedded {
    explicit Embedded(const Shape& s, float gain = 1)
        : q(random_tensor(random, 1, s.Tq, s.D, Order::head_token, 2, gain)),
          k(random_tensor(random, 1, s.Tk, s.D, Order::head_token, 3)),
          v(random_tensor(random, 1, s.Tk, s.Dv)),
          e_q(random_tensor(random, 1, s.Hq, s.D, Order::head_token, 1)),
          e_k(random_tensor(random, 1, s.Hq, s.D)),
          e_v(random_tensor(random, 1, s.Hq, s.Dv)) {}
    static Matrices<const float> matrix(const Tensor<float>& x) {
        return {x.view().data, 1, x.view().tokens, x.view().dim, x.view().token_stride};
    }
    HeadEmbeddingInputs inputs() const {
        return {q.view(), KvView::of(k.view(), v.view()), matrix(e_q), matrix(e_k), matrix(e_v)};
    }

    Random random{4};
    Tensor<float> q, k, v, e_q, e_k, e_v;
};

Naive definition(const HeadEmbeddingInputs& x, const HeadEmbeddingOptions& o) {
    const View k = k_of(x.kv), v = v_of(x.kv);
    const std::int64_t heads = x.e_q.rows;
    const double scale = naive_scale(o.scale, k.dim);
    const bool add = o.mode == HeadEmbeddingMode::add;
    const auto embedded = [&](const float* row, const Matrices<const float>& e, std::int64_t h) {
        std::vector<double> y = wide(row, e.cols);
        for (std::int64_t c = 0; c < e.cols; ++c) {
            const double by = double{e.row(0, h)[c]};
            double& at = y[static_cast<std::size_t>(c)];
            at = add ? at + by : at * (1 + by);
        }
        return y;
    };
    std::vector<float> values;
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t j = 0; j < v.tokens; ++j) {
            const auto row = embedded(v.row(0, j), x.e_v, h);
            values.insert(values.end(), row.begin(), row.end());
        }
    return NaiveAttention{
        .score =
            [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                return scale * naive_dot(embedded(x.q.row(0, i), x.e_q, h), embedded(k.row(0, j), x.e_k, h));
            },
        .sees = [&](std::int64_t h, std::int64_t i,
                    std::int64_t j) { return naive_sees(o.visibility, h, i, x.q.tokens, j, k.tokens); }}(
        heads, x.q.tokens, attenta::hnd(static_cast<const float*>(values.data()), heads, v.tokens, v.dim));
}

TEST(HeadEmbedding, EqualsItsDefinition) {
    for (const Shape& s : {Shape{1, 1, 1, 1, 8, 8}, Shape{4, 1, 1, 37, 16, 24}, Shape{3, 1, 27, 27, 17, 17},
                           Shape{2, 1, 10, 141, 32, 9}, Shape{8, 1, 90, 150, 12, 7}})
        for (const auto mode : {HeadEmbeddingMode::add, HeadEmbeddingMode::mul})
            for (const bool causal : {false, true}) {
                const Embedded e(s, 2);
                HeadEmbeddingOptions o{.mode = mode};
                o.visibility.causal = causal;
                const Naive want = definition(e.inputs(), o);
                on_every_isa([&](Context& context) {
                    Output got(s.Hq, s.Tq, s.Dv, Order::token_head, 2);
                    attenta::head_embedding(e.inputs(), {got.o.view(), got.lse.data()}, o, context);
                    EXPECT_TRUE(close(got, want, {4e-5, 4e-4}));
                });
            }
}

/// A query that sees no key has no value, and no embedding of one.
TEST(HeadEmbedding, RowsWithoutKeys) {
    const Embedded e({3, 1, 5, 9, 8, 8});
    HeadEmbeddingOptions o;
    o.visibility.causal = true;
    o.visibility.q_offset = -2;
    Output got(3, 5, 8);
    attenta::head_embedding(e.inputs(), {got.o.view(), nullptr}, o);
    EXPECT_EQ(got.o.row(1, 1)[3], 0.f);
    attenta::head_embedding(e.inputs(), {got.o.view(), got.lse.data()}, o);
    EXPECT_TRUE(close(got, definition(e.inputs(), o)));
}

TEST(HeadEmbedding, RefusesWhatDoesNotFit) {
    const Embedded e({3, 1, 5, 9, 8, 6});
    Output got(3, 5, 6);
    const auto refused = [&](std::initializer_list<std::string_view> words, auto&& spoil) {
        HeadEmbeddingInputs x = e.inputs();
        HeadEmbeddingOptions o;
        attenta::SoftmaxOutputs out{got.o.view(), got.lse.data()};
        spoil(x, out, o);
        const auto result = refuses([&] { attenta::head_embedding(x, out, o); }, words);
        const float fresh = untouched<float>();
        EXPECT_TRUE(same_bits(got.o.row(0, 0), &fresh, 1));
        return result;
    };
    using In = HeadEmbeddingInputs;
    EXPECT_TRUE(refused({"head_embedding", "e_k", "2"}, [](In& x, auto&, auto&) { x.e_k.rows = 2; }));
    EXPECT_TRUE(refused({"head_embedding", "e_v", "5"}, [](In& x, auto&, auto&) { x.e_v.cols = 5; }));
    EXPECT_TRUE(refused({"head_embedding", "e_q", "null"}, [](In& x, auto&, auto&) { x.e_q.data = nullptr; }));
    EXPECT_TRUE(refused({"head_embedding", "q", "2", "1"}, [](In& x, auto&, auto&) { x.q.heads = 2; }));
    EXPECT_TRUE(refused({"head_embedding", "3", "1"}, [](In& x, auto&, auto&) { x.q.heads = x.kv.heads = 3; }));
    EXPECT_TRUE(refused({"head_embedding", "o"}, [](In&, auto& out, auto&) { out.o.heads = 2; }));
    EXPECT_TRUE(refused({"head_embedding", "o", "e_v"},
                        [](In& x, auto& out, auto&) { out.o.data = const_cast<float*>(x.e_v.data); }));
    EXPECT_TRUE(
        refused({"head_embedding", "mode"}, [](In&, auto&, auto& o) { o.mode = static_cast<HeadEmbeddingMode>(4); }));
    EXPECT_TRUE(refused({"head_embedding", "scale"}, [](In&, auto&, auto& o) { o.scale = 1.f / 0.f; }));
}

}  // namespace
}  // namespace attenta_test
