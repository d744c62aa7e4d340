#include <attenta/variants/structured/label.hpp>

#include "support/errors.hpp"
#include "variants/network/naive_network.hpp"
#include "variants/support/call.hpp"

namespace attenta_test {
namespace {

using attenta::LabelInputs, attenta::LabelOptions, attenta::LabelOutputs;

/// x w, w [in, out].
std::vector<double> naive_product(const std::vector<double>& x, const View& w, std::int64_t head) {
    std::vector<double> y(static_cast<std::size_t>(w.dim));
    for (std::size_t i = 0; i < x.size(); ++i)
        for (std::size_t c = 0; c < y.size(); ++c) y[c] += x[i] * double{w.row(head, static_cast<std::int64_t>(i))[c]};
    return y;
}
View view_of(const Weights& w) { return {w.data, 1, w.rows, w.cols, 0, w.row_stride}; }

//   a = softmax(scale q·(x w_k)),  c = Σ a (x w_v),  y = LN((c w_o + x) w_p)
Wanted definition(const LabelInputs& x, const LabelOptions& o) {
    const std::int64_t T = x.x.rows, L = x.q.rows;
    Wanted want;
    std::vector<std::vector<double>> contexts;
    for (std::int64_t l = 0; l < L; ++l) {
        std::vector<double> s, c(static_cast<std::size_t>(x.w_v.dim));
        for (std::int64_t t = 0; t < T; ++t)
            s.push_back(
                naive_scale(o.scale, x.x.cols) *
                naive_dot(wide(x.q.row(0, l), x.q.cols), naive_product(wide(x.x.row(0, t), x.x.cols), x.w_k, l)));
        const auto w = naive_softmax(s);
        double sum = 0;
        for (const double e : s) sum += std::exp(e - s[0]);
        want["lse"].push_back(s[0] + std::log(sum));
        for (std::int64_t t = 0; t < T; ++t) {
            const auto v = naive_product(wide(x.x.row(0, t), x.x.cols), x.w_v, l);
            for (std::size_t d = 0; d < c.size(); ++d) c[d] += w[static_cast<std::size_t>(t)] * v[d];
        }
        want["o"].insert(want["o"].end(), c.begin(), c.end());
        contexts.push_back(c);
    }
    if (!x.w_o) return want;
    const std::int64_t P = x.w_p.cols;
    for (std::int64_t t = 0; t < T; ++t)
        for (const auto& c : contexts) {
            auto z = naive_product(naive_sum(naive_product(c, view_of(x.w_o), 0), wide(x.x.row(0, t), x.x.cols)),
                                   view_of(x.w_p), 0);
            double mean = 0, squares = 0;
            for (const double e : z) mean += e / static_cast<double>(P);
            for (const double e : z) squares += (e - mean) * (e - mean);
            const double deviation = std::sqrt(squares / static_cast<double>(P - o.ddof)) + double{o.eps};
            for (std::size_t p = 0; p < z.size(); ++p)
                want["y"].push_back((z[p] - mean) / deviation * double{x.norm[p]} + double{x.norm_b[p]});
        }
    return want;
}

LabelInputs draw(Drawn& d, std::int64_t L, std::int64_t T, std::int64_t P) {
    LabelInputs x;
    x.x = d.matrix(T, 14), x.q = d.matrix(L, 6), x.w_k = d.heads(L, 14, 6, 0.3f), x.w_v = d.heads(L, 14, 5, 0.3f);
    if (P > 0) x.w_o = d.matrix(5, 14), x.w_p = d.matrix(14, P, 0.3f), x.norm = d.vector(P), x.norm_b = d.vector(P);
    return x;
}

TEST(Label, EqualsItsDefinition) {
    for (const auto& [L, T, P] :
         {std::array<std::int64_t, 3>{1, 1, 0}, {7, 29, 0}, {5, 21, 11}, {3, 1, 2}, {70, 300, 19}})
        for (const std::int64_t pad : {0, 3}) {
            Drawn d(static_cast<std::uint64_t>(T), pad);
            const LabelInputs x = draw(d, L, T, P);
            LabelOptions options;
            if (pad > 0) options = {.scale = 1.5f, .ddof = 0, .eps = 0.1f};
            expect_everywhere(
                [&](Context& context) {
                    Room o(x.q.rows, 1, 5), y(1, x.x.rows, x.q.rows * x.w_p.cols);
                    std::vector<float> lse(static_cast<std::size_t>(x.q.rows));
                    LabelOutputs out{o.view(), lse.data()};
                    if (x.w_o) out.y = y.matrix();
                    attenta::label(x, out, options, context);
                    Results r{{"o", o.rows()}, {"lse", lse}};
                    if (x.w_o) r["y"] = y.rows();
                    return r;
                },
                definition(x, options), 1e-4, 1e-3);
        }
}

TEST(LabelErrors, RefusesWhatDoesNotFit) {
    Drawn d(1);
    const LabelInputs good = draw(d, 3, 9, 4);
    Room room(3, 1, 5), y(1, 9, 12);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            LabelInputs x = good;
            LabelOptions o;
            LabelOutputs out{room.view(), nullptr, y.matrix()};
            change(x, o, out);
            attenta::label(x, out, o);
        };
    };
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.q.cols = 5; }), {"label", "w_k", "6", "5"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.norm = {}; }), {"3", "norm"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.ddof = 2; }), {"ddof", "2"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) {
                            x.w_p.cols = 1, x.norm = x.norm.first(1), x.norm_b = x.norm_b.first(1);
                        }),
                        {"w_p", "1", "ddof"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.eps = NAN; }), {"eps"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.eps = -1; }), {"eps"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.scale = INFINITY; }), {"scale"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& out) { out.y.cols = 11; }), {"y", "11", "12"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& out) { out.o.dim = 4; }), {"o", "4", "5"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.x.rows = 0; }), {"x", "0"}));
    EXPECT_TRUE(room.untouched_so_far() && y.untouched_so_far());
}

}  // namespace
}  // namespace attenta_test
