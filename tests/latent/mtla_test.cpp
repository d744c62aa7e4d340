// mtla equals its definition, in one piece, in steps and cut anywhere; what it refuses.
#include <attenta/latent/mtla.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "latent/support/naive_latent.hpp"
#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

struct Sizes {
    std::int64_t Hq, Tq, T, Dn, Dr, R, Rh, Dv, stride;
};
std::ostream& operator<<(std::ostream& out, const Sizes& s) {
    return out << "Hq " << s.Hq << " Tq " << s.Tq << " T " << s.T << " Dn " << s.Dn << " Dr " << s.Dr << " R " << s.R
               << " Rh " << s.Rh << " Dv " << s.Dv << " stride " << s.stride;
}

struct MtlaCase {
    explicit MtlaCase(const Sizes& s) : sizes(s), random(11) {
        q_nope = random_tensor(random, s.Hq, s.T, s.Dn, Order::token_head, 1);
        q_pe = random_tensor(random, s.Hq, s.T, s.Dr);
        c_kv = random_tensor(random, 1, s.T, s.R, Order::head_token, 3);
        k_pe = random_tensor(random, 1, s.T, s.Dr);
        const float gain = 1 / std::sqrt(static_cast<float>(s.R));
        w_uk = random_tensor(random, s.Hq, s.Dn, s.R, Order::head_token, 0, gain);
        w_uv = random_tensor(random, s.Hq, s.Dv, s.R, Order::head_token, 0, gain);
        w_c = random_tensor(random, 1, s.Rh, s.R, Order::head_token, 0, gain);
        w_p = random_tensor(random, 1, s.Rh, s.R, Order::head_token, 2, gain);
        b_c = random.normals(s.Rh);
        b_p = random.normals(s.Rh);
    }
    /// Tokens [begin, end) and the queries of the last `queries` of them.
    attenta::MtlaInputs inputs(std::int64_t begin, std::int64_t end, std::int64_t queries) const {
        const auto matrix = [](const attenta::Heads<const float>& x) {
            return attenta::Matrices<const float>{x.data, 1, x.tokens, x.dim, x.token_stride, x.head_stride};
        };
        attenta::MtlaInputs x;
        x.q_nope = attenta::Heads<const float>(q_nope.view()).slice(end - queries, queries);
        x.q_pe = attenta::Heads<const float>(q_pe.view()).slice(end - queries, queries);
        x.c_kv = matrix(attenta::Heads<const float>(c_kv.view()).slice(begin, end - begin));
        x.k_pe = matrix(attenta::Heads<const float>(k_pe.view()).slice(begin, end - begin));
        x.w_uk = w_uk.view();
        x.w_uv = w_uv.view();
        x.w_c = matrix(w_c.view());
        x.w_p = matrix(w_p.view());
        x.b_c = b_c;
        x.b_p = b_p;
        return x;
    }
    attenta::MtlaOptions options() const {
        attenta::MtlaOptions o;
        o.stride = sizes.stride;
        return o;
    }

    /// ĉ at every position, [T, R].
    std::vector<double> merged() const {
        const Sizes& s = sizes;
        std::vector<double> rows(static_cast<std::size_t>(s.T * s.R));
        for (std::int64_t j = 0; j < s.T; ++j) {
            std::vector<double> code(static_cast<std::size_t>(s.R)), latent(c_kv.row(0, j), c_kv.row(0, j) + s.R);
            for (std::int64_t m = 0; m < s.R / 2; ++m) {
                const double angle = static_cast<double>(j / s.stride) *
                                     std::pow(10000.0, -2.0 * static_cast<double>(m) / static_cast<double>(s.R));
                code.data()[2 * m] = std::sin(angle);
                code.data()[2 * m + 1] = std::cos(angle);
            }
            double sum = 0;
            for (std::int64_t r = 0; r < s.Rh; ++r)
                sum += (naive_dot(w_c.row(0, r), code.data(), s.R) + double{b_c.data()[r]}) *
                       (naive_dot(w_p.row(0, r), latent.data(), s.R) + double{b_p.data()[r]});
            const double gate = 1 / (1 + std::exp(-sum));
            for (std::int64_t c = 0; c < s.R; ++c)
                rows.data()[j * s.R + c] =
                    gate * latent.data()[c] + (j % s.stride == 0 ? 0 : rows.data()[(j - 1) * s.R + c]);
        }
        return rows;
    }
    Naive definition() const {
        const Sizes& s = sizes;
        const auto rows = merged();
        const auto rotary = in_double(k_pe);
        NaiveLatent naive{attenta::Heads<const float>(q_nope.view()).slice(s.T - s.Tq, s.Tq),
                          attenta::Heads<const float>(q_pe.view()).slice(s.T - s.Tq, s.Tq), w_uk.view(), w_uv.view(),
                          1 / std::sqrt(static_cast<double>(s.Dn + s.Dr))};
        return naive.attend(
            1, s.T, s.T - s.Tq, [&](std::int64_t, std::int64_t j, std::int64_t) { return rows.data() + j * s.R; },
            [&](std::int64_t j) { return rotary.data() + j * s.Dr; },
            [&](std::int64_t i, std::int64_t j) { return j == i || (j < i && (j + 1) % s.stride == 0); });
    }

    Sizes sizes;
    Random random;
    Tensor<float> q_nope, q_pe, c_kv, k_pe, w_uk, w_uv, w_c, w_p;
    std::vector<float> b_c, b_p;
};

const Sizes shapes[] = {{1, 1, 1, 1, 1, 2, 1, 1, 1},      {2, 18, 21, 8, 4, 16, 4, 8, 1},
                        {4, 33, 33, 12, 8, 24, 6, 10, 2}, {3, 5, 47, 17, 6, 20, 5, 13, 3},
                        {8, 1, 130, 8, 4, 40, 3, 9, 4},   {16, 70, 260, 8, 4, 32, 8, 16, 2},
                        {2, 9, 9, 5, 3, 6, 2, 4, 50}};

TEST(Mtla, EqualsTheDefinition) {
    on_every_isa([&](attenta::Context& context) {
        for (const Sizes& s : shapes) {
            const MtlaCase c(s);
            Output out(s.Hq, s.Tq, s.Dv, Order::token_head, 1);
            attenta::MtlaCache cache;
            attenta::mtla(c.inputs(0, s.T, s.Tq), {out.o.view(), out.lse.data()}, cache, c.options(), context);
            EXPECT_TRUE(close(out, c.definition())) << s;
            const auto rows = c.merged();
            ASSERT_EQ(cache.rows(), (s.T + s.stride - 1) / s.stride);
            for (std::int64_t n = 0; n < cache.rows(); ++n) {
                const std::int64_t last = std::min((n + 1) * s.stride, s.T) - 1;
                for (std::int64_t r = 0; r < s.R; ++r)
                    EXPECT_NEAR(double{cache.row(n)[r]}, rows.data()[last * s.R + r], 1e-5);
                for (std::int64_t r = 0; r < s.Dr; ++r) EXPECT_EQ(cache.row(n)[s.R + r], c.k_pe.row(0, last)[r]);
            }
        }
    });
}

/// A prefill, then steps of one token and of several, give what one call gives.
TEST(Mtla, MayBeCutAnywhere) {
    for (const Sizes& s : {Sizes{4, 40, 40, 12, 8, 24, 6, 10, 3}, {2, 21, 21, 8, 4, 16, 4, 8, 2}}) {
        const MtlaCase c(s);
        const Naive want = c.definition();
        for (const std::int64_t first : {1, 2, 7, 20}) {
            attenta::MtlaCache cache;
            for (std::int64_t begin = 0, step = first; begin < s.T; begin += step, step = 1 + begin % 2) {
                const std::int64_t n = std::min(step, s.T - begin);
                step = n;
                Output out(s.Hq, n, s.Dv);
                attenta::mtla(c.inputs(begin, begin + n, n), {out.o.view(), out.lse.data()}, cache, c.options());
                out.o.each_row([&](const float* row, std::int64_t h, std::int64_t t) {
                    for (std::int64_t e = 0; e < s.Dv; ++e)
                        EXPECT_NEAR(double{row[e]}, want.o_row(h, begin + t)[e], 2e-5) << first << " " << begin;
                });
            }
            EXPECT_EQ(cache.tokens(), s.T);
        }
    }
}

TEST(MtlaErrors, RefusesWhatDoesNotFit) {
    const Sizes s{2, 3, 9, 8, 4, 16, 4, 8, 2};
    const MtlaCase c(s);
    Output out(s.Hq, s.Tq, s.Dv);
    attenta::MtlaCache cache;
    const auto call = [&](auto&& change, attenta::MtlaOptions o) {
        return [&c, &out, &cache, &s, o, change] {
            attenta::MtlaInputs x = c.inputs(0, s.T, s.Tq);
            attenta::LatentOutputs to{out.o.view(), out.lse.data()};
            change(x, to);
            attenta::mtla(x, to, cache, o);
        };
    };
    using In = attenta::MtlaInputs;
    using Out = attenta::LatentOutputs;
    const attenta::MtlaOptions good = c.options();
    const auto of_stride = [](std::int64_t n) {
        attenta::MtlaOptions o;
        o.stride = n;
        return o;
    };
    const auto nothing = [](In&, Out&) {};
    EXPECT_TRUE(refuses(call(nothing, of_stride(0)), {"stride", "0"}));
    EXPECT_TRUE(
        refuses(call([](In& x, Out&) { x.c_kv.cols = x.w_c.cols = x.w_p.cols = x.w_uk.dim = x.w_uv.dim = 15; }, good),
                {"latent", "15", "even"}));
    EXPECT_TRUE(refuses(call([](In& x, Out&) { x.k_pe.rows = 8; }, good), {"mtla", "k_pe", "8", "9"}));
    EXPECT_TRUE(refuses(call([](In& x, Out&) { x.w_p.rows = 3; }, good), {"3", "4"}));
    EXPECT_TRUE(refuses(call([](In& x, Out&) { x.b_c = x.b_c.first(2); }, good), {"b_c", "2", "4"}));
    EXPECT_TRUE(refuses(call([](In& x, Out&) { x.c_kv.rows = x.k_pe.rows = 2; }, good), {"q_nope", "3", "2"}));
    EXPECT_TRUE(refuses(call([](In& x, Out&) { x.q_nope.data = nullptr; }, good), {"q_nope"}));
    EXPECT_TRUE(refuses(call([](In&, Out& o) { o.o.tokens = 2; }, good), {"o", "2", "3"}));
    EXPECT_TRUE(refuses(call([](In&, Out& o) { o.lse = o.o.data; }, good), {"lse", "overlaps"}));
    EXPECT_EQ(cache.tokens(), 0);
    call(nothing, good)();
    EXPECT_EQ(cache.tokens(), 9);
    EXPECT_TRUE(refuses(call(nothing, of_stride(3)), {"cache", "2", "3"}));
    EXPECT_EQ(cache.tokens(), 9);
    EXPECT_TRUE(refuses([] { attenta::MtlaCache(4, 0, 1); }, {"MtlaCache", "rope", "0"}));
}

}  // namespace
}  // namespace attenta_test
