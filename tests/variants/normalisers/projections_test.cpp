// optimised, efficient_projection and super_attention: softmax attention on slices of raw inputs, against the same in double.
#include <attenta/variants/projections/efficient_projection.hpp>
#include <attenta/variants/projections/optimised.hpp>
#include <attenta/variants/projections/super_attention.hpp>

#include <memory>
#include <vector>

#include "softmax/support/naive.hpp"
#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/shapes.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::Heads, attenta::Matrices, attenta::VisibleKeys;

/// q and raw inputs, which have room between their rows.
struct Slices {
    explicit Slices(const Shape& s)
        : shape(s),
          q(random_tensor(random, s.Hq, s.Tq, s.D)),
          k(random_tensor(random, s.Hkv, s.Tk, s.D)),
          raw_k(random_tensor(random, 1, s.Tk, s.Hq * s.D, Order::head_token, 3)),
          raw_v(random_tensor(random, 1, s.Tk, s.Hq * s.Dv, Order::head_token, 5)) {}

    static Matrices<const float> matrix(const Tensor<float>& x) {
        const auto& v = x.view();
        return {v.data, 1, v.tokens, v.dim, v.token_stride};
    }
    Heads<const float> slices(const Tensor<float>& x, std::int64_t dim) const {
        return {x.view().data, shape.Hq, shape.Tk, dim, dim, x.view().token_stride};
    }

    Shape shape;
    Random random{3};
    Tensor<float> q, k, raw_k, raw_v;
};

/// Softmax attention with keys of head h / (Hq / heads of k) and values (head, key, channel).
template <class Values>
Naive attend(const Slices& s, const Heads<const float>& k, const VisibleKeys& visibility, Values&& value) {
    const double scale = naive_scale({}, s.shape.D);
    const std::int64_t group = s.shape.Hq / k.heads;
    std::vector<float> v;
    for (std::int64_t h = 0; h < s.shape.Hq; ++h)
        for (std::int64_t j = 0; j < s.shape.Tk; ++j)
            for (std::int64_t c = 0; c < s.shape.Dv; ++c) v.push_back(static_cast<float>(value(h, j, c)));
    return NaiveAttention{
        .score =
            [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                return scale * naive_dot(wide(s.q.row(h, i), s.shape.D), wide(k.row(h / group, j), s.shape.D));
            },
        .sees = [&](std::int64_t h, std::int64_t i,
                    std::int64_t j) { return naive_sees(visibility, h, i, s.shape.Tq, j, s.shape.Tk); }}(
        s.shape.Hq, s.shape.Tq, attenta::hnd(static_cast<const float*>(v.data()), s.shape.Hq, s.shape.Tk, s.shape.Dv));
}

template <class Call>
void expect_close(const Slices& s, const Naive& want, Call&& call) {
    on_every_isa([&](Context& context) {
        Output got(s.shape.Hq, s.shape.Tq, s.shape.Dv, Order::token_head, 2);
        call(attenta::SoftmaxOutputs{got.o.view(), got.lse.data()}, context);
        EXPECT_TRUE(close(got, want));
    });
}

const std::vector<Shape> shapes = {
    {1, 1, 1, 1, 8, 8}, {4, 2, 1, 37, 16, 24}, {4, 1, 13, 29, 20, 9}, {3, 3, 70, 140, 12, 7}, {4, 2, 90, 90, 17, 21}};

TEST(Optimised, EqualsItsDefinition) {
    for (const Shape& shape : shapes)
        for (const bool causal : {false, true}) {
            const Slices s(shape);
            attenta::OptimisedOptions o;
            o.visibility.causal = causal;
            const auto v = s.slices(s.raw_v, shape.Dv);
            const Naive want = attend(s, s.k.view(), o.visibility,
                                      [&](std::int64_t h, std::int64_t j, std::int64_t c) { return v.row(h, j)[c]; });
            expect_close(s, want, [&](const attenta::SoftmaxOutputs& out, Context& context) {
                attenta::optimised({s.q.view(), s.k.view(), Slices::matrix(s.raw_v)}, out, o, context);
            });
        }
}

/// Each query head has its own row of a mask, whatever the heads of k.
TEST(Optimised, MasksOfHeads) {
    const Slices s({4, 2, 9, 40, 8, 8});
    const auto mask = std::make_unique<bool[]>(4 * 9 * 40);
    Random random(9);
    for (int i = 0; i < 4 * 9 * 40; ++i) mask[static_cast<std::size_t>(i)] = random.chance(0.5);
    attenta::OptimisedOptions o;
    o.visibility.mask = {mask.get(), 4, 9, 40};
    const auto v = s.slices(s.raw_v, 8);
    const Naive want = attend(s, s.k.view(), o.visibility,
                              [&](std::int64_t h, std::int64_t j, std::int64_t c) { return v.row(h, j)[c]; });
    expect_close(s, want, [&](const attenta::SoftmaxOutputs& out, Context& context) {
        attenta::optimised({s.q.view(), s.k.view(), Slices::matrix(s.raw_v)}, out, o, context);
    });
}

TEST(EfficientProjection, EqualsItsDefinition) {
    for (const Shape& shape : shapes)
        for (const bool causal : {false, true}) {
            const Slices s(shape);
            attenta::EfficientProjectionOptions o;
            o.visibility.causal = causal;
            const auto k = s.slices(s.raw_k, shape.D), v = s.slices(s.raw_v, shape.Dv);
            const Naive want = attend(s, k, o.visibility,
                                      [&](std::int64_t h, std::int64_t j, std::int64_t c) { return v.row(h, j)[c]; });
            expect_close(s, want, [&](const attenta::SoftmaxOutputs& out, Context& context) {
                attenta::efficient_projection({s.q.view(), Slices::matrix(s.raw_k), Slices::matrix(s.raw_v)}, out, o,
                                              context);
            });
        }
}

TEST(SuperAttention, EqualsItsDefinition) {
    for (const Shape& shape : shapes)
        for (const bool causal : {false, true})
            for (const bool per_head : {false, true}) {
                Slices s(shape);
                const std::int64_t n = shape.Tk + 7;
                const auto w = random_tensor(s.random, per_head ? shape.Hq : 1, n, n, Order::head_token, 0,
                                             1 / std::sqrt(static_cast<float>(n)));
                const std::vector<float> b = s.random.normals(static_cast<std::size_t>(n));
                attenta::SuperAttentionOptions o;
                o.visibility.causal = causal;
                const auto v = s.slices(s.raw_v, shape.Dv);
                const auto mixed = [&](std::int64_t h, std::int64_t j, std::int64_t c) {
                    double sum = double{b[static_cast<std::size_t>(j)]};
                    for (std::int64_t t = 0; t < (causal ? j + 1 : shape.Tk); ++t)
                        sum += double{w.row(per_head ? h : 0, j)[t]} * double{v.row(h, t)[c]};
                    return sum;
                };
                const Naive want = attend(s, s.slices(s.raw_k, shape.D), o.visibility, mixed);
                expect_close(s, want, [&](const attenta::SoftmaxOutputs& out, Context& context) {
                    const auto& m = w.view();
                    attenta::super_attention({s.q.view(),
                                              Slices::matrix(s.raw_k),
                                              Slices::matrix(s.raw_v),
                                              {m.data, m.heads, m.tokens, m.dim, m.token_stride, m.head_stride},
                                              b},
                                             out, o, context);
                });
            }
}

/// spoil(inputs, outputs, options) of a call of all three.
template <class F>
testing::AssertionResult refused(std::initializer_list<std::string_view> words, F&& spoil) {
    Slices s({4, 4, 6, 12, 8, 5});
    const auto w = random_tensor(s.random, 1, 12, 12);
    attenta::SuperAttentionInputs x{s.q.view(),
                                    Slices::matrix(s.raw_k),
                                    Slices::matrix(s.raw_v),
                                    {w.view().data, 1, 12, 12, w.view().token_stride}};
    Output got(4, 6, 5);
    attenta::SoftmaxOutputs out{got.o.view(), got.lse.data()};
    attenta::SuperAttentionOptions o;
    spoil(x, out, o);
    const auto result = refuses([&] { attenta::super_attention(x, out, o); }, words);
    const float fresh = untouched<float>();
    EXPECT_TRUE(same_bits(got.o.row(0, 0), &fresh, 1));
    return result;
}

TEST(SuperAttention, RefusesWhatDoesNotFit) {
    using In = attenta::SuperAttentionInputs;
    EXPECT_TRUE(refused({"super_attention", "x_k", "31"}, [](In& x, auto&, auto&) { x.x_k.cols = 31; }));
    EXPECT_TRUE(refused({"super_attention", "x_v", "19"}, [](In& x, auto&, auto&) { x.x_v.cols = 19; }));
    EXPECT_TRUE(refused({"super_attention", "x_v"}, [](In& x, auto&, auto&) { x.x_v.rows = 11; }));
    EXPECT_TRUE(refused({"super_attention", "w_a", "12"}, [](In& x, auto&, auto&) { x.w_a.rows = 11; }));
    EXPECT_TRUE(refused({"super_attention", "w_a"}, [](In& x, auto&, auto&) { x.w_a.data = nullptr; }));
    EXPECT_TRUE(refused({"super_attention", "w_a"}, [](In& x, auto&, auto&) { x.w_a.heads = 3; }));
    const std::vector<float> b(11);
    EXPECT_TRUE(refused({"super_attention", "b_a", "11"}, [&](In& x, auto&, auto&) { x.b_a = b; }));
    EXPECT_TRUE(refused({"super_attention", "o"}, [](In&, auto& out, auto&) { out.o.dim = 4; }));
    EXPECT_TRUE(refused({"super_attention", "o", "w_a"},
                        [](In& x, auto& out, auto&) { out.o.data = const_cast<float*>(x.w_a.data); }));
    EXPECT_TRUE(refused({"super_attention", "lse", "x_v"},
                        [](In& x, auto& out, auto&) { out.lse = const_cast<float*>(x.x_v.data); }));
    EXPECT_TRUE(refused({"super_attention", "scale"}, [](In&, auto&, auto& o) { o.scale = 1.f / 0.f; }));
    EXPECT_TRUE(
        refused({"super_attention"}, [](In& x, auto&, auto&) { x.x_v.rows = x.x_k.rows = std::int64_t{1} << 61; }));
}

TEST(Optimised, RefusesWhatDoesNotFit) {
    const Slices s({4, 2, 6, 12, 8, 5});
    Output got(4, 6, 5);
    const auto call = [&](auto&& spoil) {
        attenta::OptimisedInputs x{s.q.view(), s.k.view(), Slices::matrix(s.raw_v)};
        attenta::SoftmaxOutputs out{got.o.view(), got.lse.data()};
        attenta::OptimisedOptions o;
        spoil(x, out, o);
        attenta::optimised(x, out, o);
    };
    using In = attenta::OptimisedInputs;
    const auto refused_by = [&](std::initializer_list<std::string_view> words, auto&& spoil) {
        const auto result = refuses([&] { call(spoil); }, words);
        const float fresh = untouched<float>();
        EXPECT_TRUE(same_bits(got.o.row(0, 0), &fresh, 1));
        return result;
    };
    EXPECT_TRUE(refused_by({"optimised", "k", "3"}, [](In& x, auto&, auto&) { x.k.heads = 3; }));
    EXPECT_TRUE(refused_by({"optimised", "x_v", "18"}, [](In& x, auto&, auto&) { x.x_v.cols = 18; }));
    EXPECT_TRUE(refused_by({"optimised", "k"}, [](In& x, auto&, auto&) { x.k.data = nullptr; }));
    EXPECT_TRUE(refused_by({"optimised", "o", "overlaps"},
                           [](In& x, auto& out, auto&) { out.o.data = const_cast<float*>(x.k.row(1, 0)); }));
    EXPECT_TRUE(refused_by({"optimised", "q", "6", "5"}, [](In& x, auto&, auto& o) {
        x.k.tokens = x.x_v.rows = 5;
        o.visibility.causal = true;
    }));
}

}  // namespace
}  // namespace attenta_test
