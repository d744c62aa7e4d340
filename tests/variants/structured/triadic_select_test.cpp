#include <attenta/variants/structured/triadic_select.hpp>

#include <limits>
#include <numeric>

#include "support/errors.hpp"
#include "variants/network/naive_network.hpp"
#include "variants/support/call.hpp"

namespace attenta_test {
namespace {

using attenta::TriadicSelectInputs, attenta::TriadicSelectOptions, attenta::TriadicSelectOutputs;

using Rows = std::vector<std::vector<double>>;

/// Of each channel the largest entries, falling, of equal ones the first: tokens [top][D].
std::vector<std::vector<std::size_t>> naive_largest(const Rows& x, std::int64_t top) {
    std::vector<std::vector<std::size_t>> chosen(static_cast<std::size_t>(top), std::vector<std::size_t>(x[0].size()));
    for (std::size_t d = 0; d < x[0].size(); ++d) {
        std::vector<std::size_t> order(x.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return x[a][d] > x[b][d]; });
        for (std::size_t n = 0; n < chosen.size(); ++n) chosen[n][d] = order[n];
    }
    return chosen;
}
Rows with_latent(const View& latent, std::int64_t h, const Rows& x, std::int64_t top) {
    Rows rows{wide(latent.row(h, 0), latent.dim)};
    for (const auto& tokens : naive_largest(x, top)) {
        auto& row = rows.emplace_back(tokens.size());
        for (std::size_t d = 0; d < row.size(); ++d) row[d] = x[tokens[d]][d];
    }
    return rows;
}

Wanted definition(const TriadicSelectInputs& x, std::int64_t top) {
    Wanted want;
    const std::int64_t T = x.q.tokens, D = x.q.dim;
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        const auto of = [&](const View& v, std::int64_t t) { return wide(v.row(h, t), D); };
        const auto q0 = of(x.q_latent, 0), k0 = of(x.k_latent, 0), v0 = of(x.v_latent, 0);
        Rows qm, km, vm;
        for (std::int64_t t = 0; t < T; ++t) {
            auto q = of(x.q, t), k = of(x.k, t), v = of(x.v, t);
            for (std::size_t d = 0; d < q.size(); ++d) {
                const double was = q[d];
                q[d] += q0[d] * k[d];
                k[d] += k0[d] * was;
                v[d] = v[d] * v[d] + 2 * v[d] + q0[d] * k0[d] * (1 + std::abs(v0[d]));
            }
            qm.push_back(q), km.push_back(k), vm.push_back(v);
        }
        const Rows Q = with_latent(x.q_latent, h, qm, top), K = with_latent(x.k_latent, h, km, top),
                   V = with_latent(x.v_latent, h, vm, top);
        const auto index = naive_largest(vm, top);
        Rows y = vm;
        for (std::size_t n = 0; n < Q.size(); ++n) {
            std::vector<double> s;
            for (const auto& key : K) s.push_back(naive_dot(Q[n], key) / std::sqrt(static_cast<double>(D)));
            const auto w = naive_softmax(s);
            for (std::size_t d = 0; d < Q[n].size(); ++d) {
                double a = 0;
                for (std::size_t j = 0; j < w.size(); ++j) a += w[j] * V[j][d];
                if (n == 0)
                    want["o"].push_back(a);
                else
                    y[index[n - 1][d]][d] += a;
            }
        }
        for (const auto& row : y) want["o"].insert(want["o"].end(), row.begin(), row.end());
        for (const auto& row : index) want["index"].insert(want["index"].end(), row.begin(), row.end());
    }
    return want;
}

TriadicSelectInputs draw(Drawn& d, std::int64_t H, std::int64_t T, std::int64_t D) {
    return {d.heads(H, T, D), d.heads(H, T, D), d.heads(H, T, D), d.heads(H, 1, D), d.heads(H, 1, D), d.heads(H, 1, D)};
}
Results run(const TriadicSelectInputs& x, std::int64_t top, Context& context) {
    Room o(x.q.heads, x.q.tokens + 1, x.q.dim);
    std::vector<std::int64_t> index(static_cast<std::size_t>(x.q.heads * top * x.q.dim));
    attenta::triadic_select(x, {o.view(), index.data()}, {top}, context);
    return {{"o", o.rows()}, {"index", {index.begin(), index.end()}}};
}

TEST(TriadicSelect, EqualsItsDefinition) {
    for (const auto& [H, T, D, top] :
         {std::array<std::int64_t, 4>{1, 1, 1, 1}, {1, 49, 24, 12}, {3, 31, 13, 5}, {2, 9, 17, 9}, {1, 500, 35, 40}}) {
        Drawn d(static_cast<std::uint64_t>(T), T == 31 ? 2 : 0);
        const TriadicSelectInputs x = draw(d, H, T, D);
        expect_everywhere([&, top = top](Context& context) { return run(x, top, context); }, definition(x, top), 1e-4);
    }
}

/// Of equal entries the first come first; what is no number comes last.
TEST(TriadicSelect, RanksEqualEntriesAndNan) {
    Drawn d(1);
    TriadicSelectInputs x = draw(d, 1, 6, 1);
    const float values[] = {1, 3, NAN, 3, -INFINITY, 0};
    for (std::int64_t t = 0; t < 6; ++t) const_cast<float*>(x.v.row(0, t))[0] = values[t];
    Context context;
    // Of −∞ vm = v (v + 2) + … is ∞.
    EXPECT_EQ(run(x, 6, context).at("index"), (std::vector<float>{4, 1, 3, 0, 5, 2}));
}

TEST(TriadicSelectErrors, RefusesWhatDoesNotFit) {
    Drawn d(1);
    const TriadicSelectInputs good = draw(d, 2, 14, 5);
    Room room(2, 15, 5);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            TriadicSelectInputs x = good;
            TriadicSelectOptions o;
            TriadicSelectOutputs out{room.view()};
            change(x, o, out);
            attenta::triadic_select(x, out, o);
        };
    };
    EXPECT_TRUE(
        refuses(call_with([](auto&, auto& o, auto&) { o.top_k = 15; }), {"triadic_select", "top_k", "15", "14"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.top_k = 0; }), {"top_k", "0"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.q_latent.tokens = 2; }), {"q_latent", "2", "1"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.v.dim = 4; }), {"v", "4", "5"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& out) { out.o.tokens = 14; }), {"o", "14", "15"}));
    EXPECT_TRUE(
        refuses(call_with([](auto& x, auto&, auto& out) { out.o.data = const_cast<float*>(x.v.data); }), {"o", "v"}));
    EXPECT_TRUE(room.untouched_so_far());
}

}  // namespace
}  // namespace attenta_test
