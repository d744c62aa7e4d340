#include <attenta/softmax/scores/scan.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "softmax/support/naive.hpp"
#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"
#include "support/random.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::KvView, attenta::Matrices, attenta::ScanInputs, attenta::ScanOptions;

struct State {
    std::vector<float> m, u, w;
};
struct Result {
    explicit Result(std::int64_t heads, std::int64_t tokens, std::int64_t dim)
        : out(heads, tokens, dim),
          state{std::vector<float>(static_cast<std::size_t>(heads), 7),
                std::vector<float>(static_cast<std::size_t>(heads), 7),
                std::vector<float>(static_cast<std::size_t>(heads * dim), 7)} {}
    attenta::ScanOutputs outputs() {
        const auto heads = static_cast<std::int64_t>(state.m.size());
        return {out.o.view(), out.lse.data(), state.m, state.u, {state.w.data(), 1, heads, out.o.view().dim}};
    }

    Output out;
    State state;
};

/// m, u and w token by token. The state is left behind the last one.
Naive naive(const ScanInputs& x, const ScanOptions& o, std::vector<double>* last = nullptr) {
    const View k = k_of(x.kv), v = v_of(x.kv);
    const std::int64_t H = x.q.rows, T = k.tokens, group = H / k.heads;
    Naive r{H, T, v.dim, std::vector<double>(static_cast<std::size_t>(H * T * v.dim)),
            std::vector<double>(static_cast<std::size_t>(H * T))};
    for (std::int64_t h = 0; h < H; ++h) {
        const auto at = static_cast<std::size_t>(h);
        double m = x.m.empty() ? minus_infinity : double{x.m[at]}, u = x.u.empty() ? 0 : double{x.u[at]};
        std::vector<double> w(static_cast<std::size_t>(v.dim));
        if (x.w) w = wide(x.w.row(0, h), v.dim);
        for (std::int64_t t = 0; t < T; ++t) {
            const double s = naive_scale(o.scale, x.q.cols) *
                             naive_dot(wide(x.q.row(0, h), x.q.cols), wide(k.row(h / group, t), k.dim));
            const double top = std::max(m, s), keep = std::exp(m - top), add = std::exp(s - top);
            m = top;
            u = u * keep + add;
            for (std::size_t c = 0; c < w.size(); ++c) {
                w[c] = w[c] * keep + add * double{v.row(h / group, t)[c]};
                r.o_row(h, t)[c] = w[c] / u;
            }
            r.lse[static_cast<std::size_t>(h * T + t)] = m + std::log(u);
        }
        if (last) {
            last->push_back(m), last->push_back(u);
            last->insert(last->end(), w.begin(), w.end());
        }
    }
    return r;
}

struct Problem {
    Problem(std::int64_t heads, std::int64_t kv_heads, std::int64_t tokens, std::int64_t dim, std::int64_t dim_v,
            std::uint64_t seed, bool with_state)
        : random(seed),
          q(random_tensor(random, 1, heads, dim)),
          k(random_tensor(random, kv_heads, tokens, dim)),
          v(random_tensor(random, kv_heads, tokens, dim_v)) {
        x.q = {q.view().data, 1, heads, dim};
        x.kv = KvView::of(k.view(), v.view());
        if (!with_state) return;
        past = {random.normals(heads), random.normals(heads), random.normals(heads * dim_v)};
        for (float& u : past.u) u = 1 + std::abs(u);
        use(past);
    }
    void use(const State& s) {
        x.m = s.m, x.u = s.u;
        x.w = {s.w.data(), 1, x.q.rows, v.view().dim};
    }

    Random random;
    Tensor<float> q, k, v;
    State past;
    ScanInputs x;
};

TEST(ScanAttention, HoldsForAwkwardShapes) {
    std::uint64_t seed = 1;
    for (const bool with_state : {false, true})
        for (const auto& [H, Hkv, T, D, Dv] : {std::array<std::int64_t, 5>{1, 1, 1, 8, 8},
                                               {4, 2, 37, 16, 24},
                                               {3, 1, 130, 7, 5},
                                               {2, 2, 300, 33, 150},
                                               {8, 2, 65, 40, 129},
                                               {2, 1, 1000, 24, 1}}) {
            const Problem p(H, Hkv, T, D, Dv, ++seed, with_state);
            const ScanOptions o{.scale = T == 37 ? std::optional(1.f) : std::nullopt};
            std::vector<double> last;
            const Naive want = naive(p.x, o, &last);
            on_every_isa([&](Context& context) {
                Result got(H, T, Dv);
                attenta::scan_attention(p.x, got.outputs(), o, context);
                EXPECT_TRUE(close(got.out, want));
                const double* state = last.data();
                for (std::size_t h = 0; h < got.state.m.size(); ++h) {
                    EXPECT_NEAR(double{got.state.m[h]}, *state++, 1e-5);
                    EXPECT_NEAR(double{got.state.u[h]} / *state++, 1, 1e-5);
                    for (std::int64_t c = 0; c < Dv; ++c, ++state)
                        EXPECT_NEAR(double{got.state.w[h * static_cast<std::size_t>(Dv) + static_cast<std::size_t>(c)]},
                                    *state, 1e-4 + 1e-5 * std::abs(*state));
                }
            });
        }
}

/// Sequences can be cut anywhere, and the state may stand where the past did.
TEST(ScanAttention, CutsAnywhere) {
    Problem p(4, 2, 90, 16, 20, 5, true);
    Result whole(4, 90, 20);
    attenta::scan_attention(p.x, whole.outputs());
    for (const std::int64_t cut : {1, 63, 64, 89}) {
        Result parts(4, 90, 20);
        parts.state = p.past;
        p.use(parts.state);
        std::int64_t begin = 0;
        for (const std::int64_t end : {cut, std::int64_t{90}}) {
            ScanInputs x = p.x;
            x.kv = KvView::of(p.k.view().slice(begin, end - begin), p.v.view().slice(begin, end - begin));
            auto out = parts.outputs();
            out.o = parts.out.o.view().slice(begin, end - begin);
            std::vector<float> lse(static_cast<std::size_t>(4 * (end - begin)));
            out.lse = lse.data();
            attenta::scan_attention(x, out);
            for (std::int64_t h = 0; h < 4; ++h)
                for (std::int64_t t = begin; t < end; ++t)
                    parts.out.lse[static_cast<std::size_t>(h * 90 + t)] =
                        lse[static_cast<std::size_t>(h * (end - begin) + t - begin)];
            begin = end;
        }
        EXPECT_LT(distance(parts.out, whole.out), 1e-5) << cut;
        EXPECT_EQ(parts.state.m, whole.state.m);
        p.use(p.past);
    }
}

TEST(ScanAttention, ReadsPagesHalvesAndThreadsAlike) {
    Problem p(4, 2, 150, 16, 140, 7, false);
    const auto k = converted<attenta::bfloat16>(p.k.view()), v = converted<attenta::bfloat16>(p.v.view());
    const Tensor<float> kf = converted<float>(k.view()), vf = converted<float>(v.view());
    p.x.kv = KvView::of(kf.view(), vf.view());
    const Naive want = naive(p.x, {});
    const PagedPool<attenta::bfloat16> pool({{kf.view(), vf.view()}}, 8, PageLayout::token_head);
    std::optional<Output> first;
    for (const int threads : {1, 2, 3}) {
        for (const KvView& kv : {KvView::of(k.view(), v.view()), pool.view()}) {
            p.x.kv = kv;
            attenta::ThreadPool threads_of(threads);
            Context context(threads_of);
            Result got(4, 150, 140);
            attenta::scan_attention(p.x, got.outputs(), {}, context);
            EXPECT_TRUE(close(got.out, want));
            if (first)
                EXPECT_TRUE(same_bits(*first, got.out));
            else
                first.emplace(std::move(got.out));
        }
    }
}

/// Large scores make one key everything.
TEST(ScanAttention, LargeScores) {
    const Problem p(2, 1, 65, 24, 10, 9, false);
    const ScanOptions o{.scale = 40.f};
    Result got(2, 65, 10);
    attenta::scan_attention(p.x, got.outputs(), o);
    EXPECT_TRUE(close(got.out, naive(p.x, o), {1e-4, 2e-3}));
}

TEST(ScanAttention, Refuses) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        Problem p(4, 2, 9, 16, 8, 3, true);
        Result out(4, 9, 8);
        auto outputs = out.outputs();
        ScanOptions o;
        spoil(p, outputs, o);
        const auto result = refuses([&] { attenta::scan_attention(p.x, outputs, o); }, words);
        if (out.state.m[0] != 7 || !std::isnan(out.out.o.row(0, 0)[0])) return testing::AssertionFailure() << "written";
        return result;
    };
    using Out = attenta::ScanOutputs;
    using Opt = ScanOptions;
    const char* const f = "scan_attention";
    EXPECT_TRUE(refused({f, "m"}, [](Problem& p, Out&, Opt&) { p.x.m = {}; }));
    EXPECT_TRUE(refused({f, "u", "-1"}, [](Problem& p, Out&, Opt&) { p.past.u[2] = -1; }));
    EXPECT_TRUE(refused({f, "u", "0"}, [](Problem& p, Out&, Opt&) { p.past.u[2] = 0; }));
    EXPECT_TRUE(refused({f, "k"}, [](Problem& p, Out&, Opt&) { p.x.kv.tokens = 0; }));
    EXPECT_TRUE(refused({f, "k", "16", "15"}, [](Problem& p, Out&, Opt&) { p.x.kv.k.dim = 15; }));
    EXPECT_TRUE(refused({f, "q", "3"}, [](Problem& p, Out&, Opt&) { p.x.q.rows = 3, p.x.m = p.x.u = {}, p.x.w = {}; }));
    EXPECT_TRUE(refused({f, "scale"}, [](Problem&, Out&, Opt& o) { o.scale = INFINITY; }));
    EXPECT_TRUE(refused({f, "o", "overlaps", "k"}, [](Problem& p, Out& out, Opt&) { out.o.data = p.k.view().data; }));
    EXPECT_TRUE(refused({f, "out.u", "overlaps", "m"}, [](Problem& p, Out& out, Opt&) { out.u = p.past.m; }));
    EXPECT_TRUE(refused({f, "out.m", "3"}, [](Problem&, Out& out, Opt&) { out.m = out.m.first(3); }));
    EXPECT_TRUE(refused({f, "o"}, [](Problem&, Out& out, Opt&) { out.o.dim = 7; }));
}

}  // namespace
}  // namespace attenta_test
