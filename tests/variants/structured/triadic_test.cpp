#include <attenta/variants/structured/triadic.hpp>

#include "support/errors.hpp"
#include "variants/network/naive_network.hpp"
#include "variants/support/call.hpp"

namespace attenta_test {
namespace {

using attenta::Cooperation, attenta::TriadicInputs, attenta::TriadicOptions, attenta::TriadicOutputs;

using Rows = std::vector<std::vector<double>>;

double naive_mod(double r, double c, Cooperation kind) {
    if (kind == Cooperation::product) return r + r * c;
    return std::min(std::max(r * r + 2 * r + c * (1 + std::abs(r)), 0.0), 6.0);
}
double naive_mean(const Rows& x, std::size_t channel) {
    double sum = 0;
    for (const auto& row : x) sum += row[channel];
    return sum / static_cast<double>(x.size());
}
Rows rows_of_head(const View& x, std::int64_t h) {
    Rows rows;
    for (std::int64_t t = 0; t < x.tokens; ++t) rows.push_back(wide(x.row(h, t), x.dim));
    return rows;
}

Wanted definition(const TriadicInputs& x, const TriadicOptions& o) {
    Wanted want;
    const auto D = static_cast<std::size_t>(x.q.dim);
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        Rows q = rows_of_head(x.q, h), k = rows_of_head(x.k, h), v = rows_of_head(x.v, h);
        for (std::int64_t loop = 0; loop < o.loops; ++loop)
            for (std::size_t d = 0; d < D; ++d) {  // channels do not meet
                const double of_tokens = 0.5 * (naive_mean(k, d) + naive_mean(v, d));
                for (auto& row : q) row[d] = naive_mod(row[d], of_tokens, o.cooperation);
                const double latent = naive_mean(q, d);
                for (std::size_t t = 0; t < k.size(); ++t)
                    k[t][d] = naive_mod(k[t][d], 0.5 * (latent + v[t][d]), o.cooperation);
                for (std::size_t t = 0; t < k.size(); ++t)
                    v[t][d] = naive_mod(v[t][d], 0.5 * (latent + k[t][d]), o.cooperation);
            }
        for (const auto& row : q) {
            std::vector<double> s;
            for (const auto& key : k) s.push_back(naive_scale(o.scale, x.q.dim) * naive_dot(row, key));
            const auto w = naive_softmax(s);
            const double top = *std::max_element(s.begin(), s.end());
            double sum = 0;
            for (const double e : s) sum += std::exp(e - top);
            want["lse"].push_back(top + std::log(sum));
            for (std::size_t d = 0; d < D; ++d) {
                double e = 0;
                for (std::size_t t = 0; t < w.size(); ++t) e += w[t] * v[t][d];
                want["o"].push_back(e);
            }
        }
        for (const auto& [name, rows] : {std::pair{"q", &q}, {"k", &k}, {"v", &v}})
            for (const auto& row : *rows) want[name].insert(want[name].end(), row.begin(), row.end());
    }
    return want;
}

TEST(Triadic, EqualsItsDefinition) {
    for (const auto& [H, L, T, D] : {std::array<std::int64_t, 4>{1, 1, 1, 1}, {2, 4, 35, 16}, {3, 5, 300, 70}})
        for (const auto kind : {Cooperation::relu6, Cooperation::product})
            for (const std::int64_t loops : {0, 1, 3}) {
                Drawn d(static_cast<std::uint64_t>(T), T == 35 ? 2 : 0);
                const TriadicInputs x{d.heads(H, L, D, 0.4f), d.heads(H, T, D, 0.4f), d.heads(H, T, D, 0.4f)};
                const TriadicOptions options{.cooperation = kind, .loops = loops, .scale = 0.2f};
                expect_everywhere(
                    [&](Context& context) {
                        Room o(x.q.heads, x.q.tokens, x.q.dim);
                        const auto size = [](const View& v) {
                            return static_cast<std::size_t>(v.heads * v.tokens * v.dim);
                        };
                        std::vector<float> lse(static_cast<std::size_t>(x.q.heads * x.q.tokens)), q(size(x.q)),
                            k(size(x.k)), v(size(x.v));
                        attenta::triadic(x, {o.view(), lse.data(), q.data(), k.data(), v.data()}, options, context);
                        return Results{{"o", o.rows()}, {"lse", lse}, {"q", q}, {"k", k}, {"v", v}};
                    },
                    definition(x, options), 1e-4, 1e-3);
            }
}

/// Outputs that nobody wants change nothing.
TEST(Triadic, KeepsWhatNobodyWants) {
    Drawn d(1);
    const TriadicInputs x{d.heads(2, 3, 8), d.heads(2, 20, 8), d.heads(2, 20, 8)};
    Room with(2, 3, 8), without(2, 3, 8);
    std::vector<float> k(2 * 20 * 8);
    Context context;
    attenta::triadic(x, {.o = with.view(), .k = k.data()}, {}, context);
    attenta::triadic(x, {.o = without.view()}, {}, context);
    EXPECT_EQ(with.rows(), without.rows());
}

TEST(TriadicErrors, RefusesWhatDoesNotFit) {
    Drawn d(1);
    const TriadicInputs good{d.heads(2, 3, 8), d.heads(2, 20, 8), d.heads(2, 20, 8)};
    Room room(2, 3, 8);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            TriadicInputs x = good;
            TriadicOptions o;
            TriadicOutputs out{room.view()};
            change(x, o, out);
            attenta::triadic(x, out, o);
        };
    };
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.loops = -1; }), {"triadic", "loops", "-1"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.scale = NAN; }), {"scale"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.v.dim = 7; }), {"v", "7", "8"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.k.heads = 1; }), {"k", "1", "2"}));
    EXPECT_TRUE(
        refuses(call_with([](auto& x, auto&, auto& out) { out.k = const_cast<float*>(x.k.data); }), {"k", "overlaps"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& out) { out.v = out.o.data; }), {"v", "o"}));
    EXPECT_TRUE(room.untouched_so_far());
}

}  // namespace
}  // namespace attenta_test
