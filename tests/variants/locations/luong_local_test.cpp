#include <attenta/variants/locations/luong_local.hpp>

#include <optional>

#include "support/errors.hpp"
#include "variants/network/naive_luong.hpp"
#include "variants/support/call.hpp"

namespace attenta_test {
namespace {

using attenta::GaussianOn, attenta::LuongLocalInputs, attenta::LuongLocalOptions, attenta::LuongLocalOutputs,
    attenta::LuongPosition;

//   p = i + offset or Tk σ(v_p·tanh(W_p q));  softmax of s over |j − ⌊p⌋| <= window, times exp(−(j − p)² / 2 sigma²)
Wanted definition(const LuongLocalInputs& x, const LuongLocalOptions& o) {
    const View k = k_of(x.kv), v = v_of(x.kv);
    const std::int64_t Hq = x.q.heads, Tq = x.q.tokens, Tk = k.tokens;
    const auto score = naive_luong(o.score, x.q, k, x.w_a, x.v_a, double{o.scale.value_or(1.f)});
    const double sigma = o.sigma ? double{*o.sigma} : static_cast<double>(o.window) / 2;
    Wanted r;
    for (std::int64_t h = 0; h < Hq; ++h)
        for (std::int64_t i = 0; i < Tq; ++i) {
            double p = static_cast<double>(i + o.offset);
            if (o.mode == LuongPosition::p)
                p = static_cast<double>(Tk) *
                    naive_sigmoid_of(naive_tanh_score(x.v_p, naive_linear(x.w_p, wide(x.q.row(h, i), x.q.dim)),
                                                      std::vector<double>(x.v_p.size())));
            const auto gauss = [&](std::int64_t j) {
                const double d = static_cast<double>(j) - p;
                return o.gaussian.value_or(o.mode == LuongPosition::p) ? std::exp(-d * d / (2 * sigma * sigma)) : 1;
            };
            std::vector<double> s;
            for (std::int64_t j = 0; j < Tk; ++j) {
                const bool inside = std::abs(static_cast<double>(j) - std::floor(p)) <= static_cast<double>(o.window);
                s.push_back(inside ? score(h, i, j) * (o.gaussian_on == GaussianOn::scores ? gauss(j) : 1)
                                   : minus_infinity);
            }
            const auto w = naive_softmax(s);
            for (std::int64_t c = 0; c < v.dim; ++c) {
                double sum = 0;
                for (std::int64_t j = 0; j < Tk; ++j)
                    sum += w[static_cast<std::size_t>(j)] * (o.gaussian_on == GaussianOn::weights ? gauss(j) : 1) *
                           double{v.row(h / (Hq / v.heads), j)[c]};
                r["o"].push_back(sum);
            }
            r["position"].push_back(p);
        }
    return r;
}

struct Case {
    Case(const Shape& s, LuongScore score, LuongPosition mode, std::int64_t pad = 0) : shape(s), drawn(7, pad) {
        options.score = score, options.mode = mode, options.window = 3;
        x.q = drawn.heads(s.Hq, s.Tq, s.D);
        x.kv = attenta::KvView::of(drawn.heads(s.Hkv, s.Tk, s.D), drawn.heads(s.Hkv, s.Tk, s.Dv));
        if (score == LuongScore::general) x.w_a = drawn.matrix(s.D, s.D, 0.2f);
        if (score == LuongScore::concat) x.w_a = drawn.matrix(9, 2 * s.D, 0.3f), x.v_a = drawn.vector(9);
        if (score == LuongScore::location) x.w_a = drawn.matrix(s.Tk + 2, s.D, 0.3f);
        if (mode == LuongPosition::p) x.w_p = drawn.matrix(5, s.D, 0.4f), x.v_p = drawn.vector(5);
    }
    void expect_definition() const {
        expect_everywhere(
            [&](Context& context) {
                Room o(shape.Hq, shape.Tq, shape.Dv);
                std::vector<float> position(static_cast<std::size_t>(shape.Hq * shape.Tq));
                attenta::luong_local(x, {o.view(), position.data()}, options, context);
                return Results{{"o", o.rows()}, {"position", position}};
            },
            definition(x, options), 5e-5);
    }

    Shape shape;
    Drawn drawn;
    LuongLocalInputs x;
    LuongLocalOptions options;
};

TEST(LuongLocal, HoldsForScoresAndPositions) {
    for (const Shape& s : {Shape{1, 1, 1, 1, 8, 8}, Shape{4, 2, 1, 37, 16, 24}, Shape{3, 1, 9, 9, 6, 5},
                           Shape{4, 2, 70, 130, 10, 16}, Shape{2, 1, 30, 17, 9, 12}, Shape{2, 2, 3, 600, 8, 8}})
        for (const auto score : {LuongScore::dot, LuongScore::general, LuongScore::concat, LuongScore::location})
            for (const auto mode : {LuongPosition::m, LuongPosition::p}) Case(s, score, mode).expect_definition();
}

TEST(LuongLocal, HoldsForOptions) {
    using Set = void (*)(LuongLocalOptions&);
    for (const Set set : {Set([](LuongLocalOptions& o) { o.gaussian = true, o.offset = 2; }),
                          Set([](LuongLocalOptions& o) { o.gaussian = true, o.gaussian_on = GaussianOn::scores; }),
                          Set([](LuongLocalOptions& o) { o.gaussian = false, o.scale = -0.5f; }),
                          Set([](LuongLocalOptions& o) { o.gaussian = true, o.sigma = 0.4f, o.window = 20; }),
                          Set([](LuongLocalOptions& o) { o.window = std::int64_t{1} << 62, o.offset = -5; }),
                          Set([](LuongLocalOptions& o) { o.offset = std::int64_t{1} << 40; })})
        for (const auto mode : {LuongPosition::m, LuongPosition::p}) {
            Case c({4, 2, 40, 90, 8, 6}, LuongScore::dot, mode, 3);
            set(c.options);
            c.expect_definition();
        }
}

TEST(LuongLocal, KeepsNanInItsRows) {
    Case c({2, 1, 12, 20, 8, 6}, LuongScore::dot, LuongPosition::p);
    const_cast<float*>(c.x.q.row(1, 5))[3] = std::numeric_limits<float>::quiet_NaN();
    on_every_isa([&](Context& context) {
        Room o(2, 12, 6);
        attenta::luong_local(c.x, {o.view()}, c.options, context);
        for (std::int64_t h = 0; h < 2; ++h)
            for (std::int64_t i = 0; i < 12; ++i) EXPECT_EQ(std::isnan(o.view().row(h, i)[0]), h == 1 && i == 5);
    });
}

TEST(LuongLocalErrors, RefusesWhatDoesNotFit) {
    Case c({2, 1, 3, 20, 8, 6}, LuongScore::dot, LuongPosition::p);
    Room room(2, 3, 6);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            LuongLocalInputs x = c.x;
            LuongLocalOptions o = c.options;
            LuongLocalOutputs out{room.view()};
            change(x, o, out);
            attenta::luong_local(x, out, o);
        };
    };
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.window = 0; }), {"luong_local", "window", "0"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.sigma = 0.f; }), {"sigma"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.scale = INFINITY; }), {"scale"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.w_p = {}; }), {"w_p", "null"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.v_p = {}; }), {"v_p", "null"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.w_p.cols = 7; }), {"w_p", "7"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& out) { out.o.dim = 5; }), {"o", "5"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& out) { out.position = out.o.data; }), {"position", "o"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto& out) {
                            out.o.data = const_cast<float*>(static_cast<const float*>(x.kv.k.data));
                        }),
                        {"o", "overlaps", "k"}));
    EXPECT_TRUE(room.untouched_so_far());
}

}  // namespace
}  // namespace attenta_test
