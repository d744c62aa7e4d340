#include <attenta/variants/structured/conditioned.hpp>

#include "support/errors.hpp"
#include "variants/network/naive_network.hpp"
#include "variants/support/call.hpp"

namespace attenta_test {
namespace {

using attenta::ConditionedInputs, attenta::ConditionedOptions, attenta::ConditionedOutputs, attenta::Conditioning;

//   c_t by mode,  w = softmax(v_a·c_t + b_a),  o = Σ w x
Wanted definition(const ConditionedInputs& x, Conditioning mode) {
    std::vector<double> s;
    for (std::int64_t t = 0; t < x.x.rows; ++t) {
        auto c = wide(x.x.row(0, t), x.x.cols);
        const auto f = wide(x.features.row(0, t), x.features.cols);
        if (mode == Conditioning::gate) {
            const auto g = naive_sum(naive_linear(x.w_g, f), x.b_g);
            for (std::size_t i = 0; i < c.size(); ++i) c[i] *= naive_sigmoid_of(g[i]);
        } else if (mode == Conditioning::concat) {
            if (x.w_c) {
                c = naive_sum(naive_sum(naive_linear(x.w_c, c), naive_linear(x.w_c, f, x.x.cols)), x.b_c);
                for (double& e : c) e = std::tanh(e);
            } else {
                c.insert(c.end(), f.begin(), f.end());
            }
        } else {
            const auto scale = naive_sum(naive_linear(x.w_scale, f), x.b_scale),
                       shift = naive_sum(naive_linear(x.w_shift, f), x.b_shift);
            for (std::size_t i = 0; i < c.size(); ++i) {
                c[i] = c[i] * scale[i] + shift[i];
                if (mode == Conditioning::affine_tanh) c[i] = std::tanh(c[i]);
            }
        }
        s.push_back(naive_dot(c, wide(x.v_a.data(), static_cast<std::int64_t>(x.v_a.size()))) + double{x.b_a[0]});
    }
    Wanted want;
    const auto w = want["weights"] = naive_softmax(s);
    double sum = 0;
    for (const double e : s) sum += std::exp(e - s[0]);
    want["lse"] = {s[0] + std::log(sum)};
    want["o"].resize(static_cast<std::size_t>(x.x.cols));
    for (std::size_t t = 0; t < w.size(); ++t)
        for (std::size_t c = 0; c < want["o"].size(); ++c)
            want["o"][c] += w[t] * double{x.x.row(0, static_cast<std::int64_t>(t))[c]};
    return want;
}

ConditionedInputs draw(Drawn& d, Conditioning mode, bool hidden, std::int64_t T, std::int64_t D, std::int64_t F) {
    ConditionedInputs x;
    x.x = d.matrix(T, D), x.features = d.matrix(T, F);
    std::int64_t width = D;
    if (mode == Conditioning::gate) x.w_g = d.matrix(D, F), x.b_g = d.vector(D);
    if (mode == Conditioning::affine || mode == Conditioning::affine_tanh)
        x.w_scale = d.matrix(D, F, 0.3f), x.b_scale = d.vector(D), x.w_shift = d.matrix(D, F, 0.3f),
        x.b_shift = d.vector(D);
    if (mode == Conditioning::concat) width = hidden ? 7 : D + F;
    if (hidden) x.w_c = d.matrix(7, D + F, 0.3f), x.b_c = d.vector(7);
    x.v_a = d.vector(width, 0.5f), x.b_a = d.vector(1);
    return x;
}

TEST(Conditioned, HoldsForModes) {
    for (const auto& [mode, hidden] : {std::pair{Conditioning::gate, false},
                                       {Conditioning::affine, false},
                                       {Conditioning::affine_tanh, false},
                                       {Conditioning::concat, false},
                                       {Conditioning::concat, true}})
        for (const auto& [T, D, F] : {std::array<std::int64_t, 3>{1, 1, 1}, {37, 30, 17}, {700, 9, 20}}) {
            Drawn d(static_cast<std::uint64_t>(T), T == 37 ? 2 : 0);
            const ConditionedInputs x = draw(d, mode, hidden, T, D, F);
            expect_everywhere(
                [&, mode = mode](Context& context) {
                    Room o(1, 1, x.x.cols);
                    std::vector<float> weights(static_cast<std::size_t>(x.x.rows)), lse(1);
                    attenta::conditioned(x, {o.view(), weights.data(), lse.data()}, {mode}, context);
                    return Results{{"o", o.rows()}, {"weights", weights}, {"lse", lse}};
                },
                definition(x, mode), 5e-5);
        }
}

TEST(ConditionedErrors, RefusesWhatDoesNotFit) {
    Drawn d(1);
    const ConditionedInputs good = draw(d, Conditioning::gate, true, 9, 6, 4);
    Room room(1, 1, 6);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            ConditionedInputs x = good;
            x.v_a = x.v_a.first(6), x.w_c = {}, x.b_c = {};
            ConditionedOptions o;
            ConditionedOutputs out{room.view()};
            change(x, o, out);
            attenta::conditioned(x, out, o);
        };
    };
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.w_g = {}; }), {"conditioned", "w_g", "null"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.mode = Conditioning::affine; }), {"w_scale", "null"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.mode = Conditioning::concat; }), {"v_a", "6", "10"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.features.rows = 8; }), {"features", "8", "9"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.v_a = x.v_a.first(5); }), {"v_a", "5", "6"}));
    EXPECT_TRUE(refuses(call_with([&](auto& x, auto&, auto&) { x.b_a = good.b_g; }), {"b_a", "6", "1"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& out) { out.o.dim = 5; }), {"o", "5", "6"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto& out) { out.weights = const_cast<float*>(x.b_g.data()); }),
                        {"weights", "b_g"}));
    EXPECT_TRUE(room.untouched_so_far());
}

}  // namespace
}  // namespace attenta_test
