// mla_project equals its definition, with and without compressed queries, cut anywhere; what it refuses.
#include <attenta/latent/mla_project.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

using attenta::MlaProjectInputs, attenta::MlaProjections;
using Row = std::vector<double>;

constexpr std::int64_t Hq = 3, N = 7, E = 21, R = 10, Dr = 6, Dn = 5, Rq = 8;

struct ProjectCase {
    explicit ProjectCase(bool is_compressed) : compressed(is_compressed), random(5) {
        x = random_tensor(random, 1, N, E);
        w_dkv = random_tensor(random, 1, R + Dr, E, Order::head_token, 2, 0.3f);
        w_q = random_tensor(random, Hq, Dn + Dr, compressed ? Rq : E, Order::token_head, 1, 0.3f);
        w_dq = random_tensor(random, 1, Rq, E, Order::head_token, 0, 0.3f);
        kv_norm = random.normals(R);
        q_norm = random.normals(Rq);
    }
    MlaProjectInputs inputs(std::int64_t begin = 0, std::int64_t count = N) const {
        const auto matrix = [](const attenta::Heads<float>& t) {
            return attenta::Matrices<const float>{t.data, 1, t.tokens, t.dim, t.token_stride, t.head_stride};
        };
        MlaProjectInputs in{matrix(x.view().slice(begin, count)), matrix(w_dkv.view()), kv_norm};
        if (!compressed) {
            in.w_q = w_q.view();
            return in;
        }
        in.w_dq = matrix(w_dq.view());
        in.q_norm = q_norm;
        in.w_uq = w_q.view();
        return in;
    }

    bool compressed;
    Random random;
    Tensor<float> x, w_dkv, w_q, w_dq;
    std::vector<float> kv_norm, q_norm;
};

Row times(const Tensor<float>& w, std::int64_t head, const Row& x) {
    Row y;
    for (std::int64_t r = 0; r < w.view().tokens; ++r) {
        double sum = 0;
        for (std::size_t c = 0; c < x.size(); ++c) sum += double{w.row(head, r)[c]} * x[c];
        y.push_back(sum);
    }
    return y;
}
Row normed(Row y, const std::vector<float>& gain, double eps) {
    double mean = 0;
    for (const double e : y) mean += e * e / static_cast<double>(y.size());
    for (std::size_t c = 0; c < y.size(); ++c) y[c] *= double{gain[c]} / std::sqrt(mean + eps);
    return y;
}
Row turned(Row y, std::int64_t position, double base) {
    for (std::size_t c = 0; c < y.size(); c += 2) {
        const double a =
            static_cast<double>(position) * std::pow(base, -static_cast<double>(c) / static_cast<double>(y.size()));
        const double re = y[c], im = y[c + 1];
        y[c] = re * std::cos(a) - im * std::sin(a);
        y[c + 1] = re * std::sin(a) + im * std::cos(a);
    }
    return y;
}
void expect_near(const float* got, const Row& want, std::size_t first, std::size_t count) {
    for (std::size_t c = 0; c < count; ++c) EXPECT_NEAR(double{got[c]}, want[first + c], 2e-5);
}

struct Results {
    explicit Results(std::int64_t n)
        : q_nope(Hq, n, Dn, Order::token_head, 1), q_pe(Hq, n, Dr), c_kv(1, n, R), k_pe(1, n, Dr) {}
    MlaProjections views() const { return {q_nope.view(), q_pe.view(), c_kv.view(), k_pe.view()}; }
    Tensor<float> q_nope, q_pe, c_kv, k_pe;
};

TEST(MlaProject, EqualsTheDefinitionCutAnywhere) {
    on_every_isa([](attenta::Context& context) {
        for (const bool compressed : {false, true})
            for (const std::int64_t step : {N, std::int64_t{1}, std::int64_t{3}}) {
                const ProjectCase c(compressed);
                const attenta::MlaProjectOptions o{100, 1e-5f, 500};
                for (std::int64_t begin = 0; begin < N; begin += step) {
                    const std::int64_t n = std::min(step, N - begin);
                    const Results got(n);
                    attenta::mla_project(c.inputs(begin, n), got.views(), {100 + begin, o.eps, o.rope_base}, context);
                    for (std::int64_t t = 0; t < n; ++t) {
                        const Row x(c.x.row(0, begin + t), c.x.row(0, begin + t) + E), down = times(c.w_dkv, 0, x);
                        const std::int64_t position = 100 + begin + t;
                        expect_near(got.c_kv.row(0, t), normed({down.begin(), down.begin() + R}, c.kv_norm, 1e-5), 0,
                                    R);
                        expect_near(got.k_pe.row(0, t), turned({down.begin() + R, down.end()}, position, 500), 0, Dr);
                        for (std::int64_t h = 0; h < Hq; ++h) {
                            const Row q = times(c.w_q, h, compressed ? normed(times(c.w_dq, 0, x), c.q_norm, 1e-5) : x);
                            expect_near(got.q_nope.row(h, t), q, 0, Dn);
                            expect_near(got.q_pe.row(h, t), turned({q.begin() + Dn, q.end()}, position, 500), 0, Dr);
                        }
                    }
                    EXPECT_TRUE(got.q_nope.padding_is_untouched());
                }
            }
    });
}

TEST(MlaProjectErrors, RefusesWhatDoesNotFit) {
    const ProjectCase c(true), direct(false);
    const Results out(N);
    const auto call = [&](auto&& change) {
        return [&, change] {
            MlaProjectInputs x = c.inputs();
            MlaProjections to = out.views();
            attenta::MlaProjectOptions o;
            change(x, to, o);
            attenta::mla_project(x, to, o);
        };
    };
    EXPECT_TRUE(
        refuses(call([&](auto& x, auto&, auto&) { x.w_q = direct.w_q.view(); }), {"mla_project", "w_q", "w_dq"}));
    EXPECT_TRUE(refuses(call([](auto& x, auto&, auto&) { x.w_dq.data = nullptr; }), {"w_q", "w_dq"}));
    EXPECT_TRUE(refuses(call([](auto& x, auto&, auto&) { x.q_norm = {}; }), {"q_norm"}));
    EXPECT_TRUE(refuses(call([](auto& x, auto&, auto&) { x.w_dkv.cols = 20; }), {"w_dkv", "20", "21"}));
    EXPECT_TRUE(refuses(call([](auto& x, auto&, auto&) { x.w_dkv.rows = R + 5; }), {"w_dkv", "15", "even"}));
    EXPECT_TRUE(refuses(call([](auto& x, auto&, auto&) { x.w_uq.tokens = Dr; }), {"queries", "6"}));
    EXPECT_TRUE(refuses(call([](auto&, auto& to, auto&) { to.c_kv.dim = 9; }), {"c_kv", "9", "10"}));
    EXPECT_TRUE(
        refuses(call([](auto&, auto& to, auto&) { to.k_pe.data = to.c_kv.data; }), {"k_pe", "overlaps", "c_kv"}));
    EXPECT_TRUE(refuses(call([](auto&, auto&, auto& o) { o.eps = 0; }), {"eps", "0"}));
    EXPECT_TRUE(refuses(call([](auto&, auto&, auto& o) { o.rope_base = 1; }), {"rope_base", "1"}));
    EXPECT_TRUE(refuses(call([](auto&, auto&, auto& o) { o.position = -1; }), {"position", "1"}));
    out.c_kv.each_row([](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
}

}  // namespace
}  // namespace attenta_test
