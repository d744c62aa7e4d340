#include <attenta/softmax/positions/attention_buckets.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "softmax/support/naive.hpp"
#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/shapes.hpp"

namespace attenta_test {
namespace {

using attenta::AttentionBucketsOptions, attenta::Context, attenta::HeadsBatch, attenta::RopeLayout;

struct Problem {
    Problem(const Shape& shape, std::int64_t batch, std::vector<double> bases, std::uint64_t seed = 1)
        : s(shape), random(seed) {
        q = random.normals(batch * s.Hq * s.Tq * s.D), k = random.normals(batch * s.Hkv * s.Tk * s.D);
        v = random.normals(batch * s.Hkv * s.Tk * s.Dv);
        x = {attenta::bhnd<const float>(q.data(), batch, s.Hq, s.Tq, s.D),
             attenta::bhnd<const float>(k.data(), batch, s.Hkv, s.Tk, s.D),
             attenta::bhnd<const float>(v.data(), batch, s.Hkv, s.Tk, s.Dv)};
        o.bases = std::move(bases);
    }

    Shape s;
    Random random;
    std::vector<float> q, k, v;
    attenta::AttentionBucketsInputs x;
    AttentionBucketsOptions o;
};

View run_of(const HeadsBatch<const float>& x, std::size_t run) {
    View h = x.first();
    if (x.batch > 1) h.data += static_cast<std::int64_t>(run) * x.heads * x.tokens * x.dim;
    return h;
}

/// Rotary attention with the base of a run.
Naive definition(const Problem& p, std::size_t run) {
    const View q = run_of(p.x.q, run), k = run_of(p.x.k, run), v = run_of(p.x.v, run);
    const std::int64_t group = p.s.Hq / p.s.Hkv, offset = p.o.q_offset.value_or(p.s.Tk - p.s.Tq);
    const auto turned = [&](const float* row, std::int64_t position) {
        return naive_rotated(wide(row, p.s.D), static_cast<double>(position), p.o.bases[run], p.s.D,
                             p.o.layout == RopeLayout::interleaved);
    };
    return NaiveAttention{.score =
                              [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                                  return naive_scale(p.o.scale, p.s.D) *
                                         naive_dot(turned(q.row(h, i), i + offset), turned(k.row(h / group, j), j));
                              },
                          .sees = [&](std::int64_t, std::int64_t i,
                                      std::int64_t j) { return !p.o.causal || j <= i + offset; }}(p.s.Hq, p.s.Tq, v);
}

void expect_definition(const Problem& p) {
    const auto runs = static_cast<std::int64_t>(p.o.bases.size());
    const std::int64_t rows = p.s.Hq * p.s.Tq;
    on_every_isa([&](Context& context) {
        std::vector<float> o(static_cast<std::size_t>(runs * rows * p.s.Dv)),
            lse(static_cast<std::size_t>(runs * rows));
        attenta::attention_buckets(p.x, {attenta::bhnd(o.data(), runs, p.s.Hq, p.s.Tq, p.s.Dv), lse.data()}, p.o,
                                   context);
        for (std::int64_t n = 0; n < runs; ++n) {
            const Naive want = definition(p, static_cast<std::size_t>(n));
            for (std::size_t i = 0; i < want.o.size(); ++i)
                ASSERT_NEAR(double{o[static_cast<std::size_t>(n * rows * p.s.Dv) + i]}, want.o[i], 2e-5)
                    << n << ' ' << i;
            for (std::size_t i = 0; i < want.lse.size(); ++i) {
                const double got = double{lse[static_cast<std::size_t>(n * rows) + i]};
                ASSERT_TRUE(got == want.lse[i] || std::abs(got - want.lse[i]) < 5e-5) << n << ' ' << i;
            }
        }
    });
}

TEST(AttentionBuckets, HoldsForSharedAndOwnInputs) {
    for (const Shape& s : {Shape{4, 2, 15, 15, 12, 7}, Shape{2, 2, 1, 33, 16, 10}, Shape{2, 1, 70, 90, 8, 8}})
        for (const std::int64_t batch : {1, 3}) expect_definition(Problem(s, batch, {10000, 18000, 500}));
    Problem one({2, 1, 11, 24, 8, 8}, 1, {500});
    one.o.layout = RopeLayout::interleaved, one.o.scale = 1.f, one.o.q_offset = 5;
    expect_definition(one);
    one.o.causal = false;
    expect_definition(one);
}

TEST(AttentionBuckets, MixesLogits) {
    Random random(3);
    const std::vector<float> logits = random.normals(3 * 5001);
    std::vector<double> best(3, -1e30);
    for (std::size_t i = 0; i < logits.size(); ++i) best[i / 5001] = std::max(best[i / 5001], double{logits[i]});
    double sum = 0;
    for (double& b : best) sum += b = std::exp(b);
    on_every_isa([&](Context& context) {
        std::vector<float> weight(3), mixed(5001);
        attenta::mix_bucket_logits({logits.data(), 1, 3, 5001}, weight, mixed, context);
        for (std::size_t n = 0; n < 3; ++n) EXPECT_NEAR(double{weight[n]}, best[n] / sum, 1e-6);
        for (std::size_t v = 0; v < 5001; ++v) {
            double want = 0;
            for (std::size_t n = 0; n < 3; ++n) want += best[n] / sum * double{logits[n * 5001 + v]};
            ASSERT_NEAR(double{mixed[v]}, want, 1e-5);
        }
    });
}

TEST(AttentionBuckets, Refuses) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        Problem p({4, 2, 5, 9, 8, 6}, 2, {100, 200});
        std::vector<float> o(2 * 4 * 5 * 6, 7);
        attenta::AttentionBucketsOutputs out{attenta::bhnd(o.data(), 2, 4, 5, 6)};
        spoil(p, out);
        const auto result = refuses([&] { attenta::attention_buckets(p.x, out, p.o); }, words);
        if (o != std::vector<float>(o.size(), 7)) return testing::AssertionFailure() << "o was written";
        return result;
    };
    using Out = attenta::AttentionBucketsOutputs;
    const char* const f = "attention_buckets";
    EXPECT_TRUE(refused({f, "bases"}, [](Problem& p, Out&) { p.o.bases.clear(); }));
    EXPECT_TRUE(refused({f, "bases", "0"}, [](Problem& p, Out&) { p.o.bases[1] = 0; }));
    EXPECT_TRUE(refused({f, "q", "3"}, [](Problem& p, Out&) { p.o.bases.push_back(3); }));
    EXPECT_TRUE(refused({f, "k"}, [](Problem& p, Out&) { p.x.k.tokens = 8; }));
    EXPECT_TRUE(refused({f, "q", "7"}, [](Problem& p, Out&) { p.x.q.dim = p.x.k.dim = 7; }));
    EXPECT_TRUE(refused({f, "q", "null"}, [](Problem& p, Out&) { p.x.q.data = nullptr; }));
    EXPECT_TRUE(refused({f, "o", "1", "2"}, [](Problem&, Out& out) { out.o.batch = 1; }));
    EXPECT_TRUE(refused({f, "o"}, [](Problem&, Out& out) { out.o.dim = 5; }));
    EXPECT_TRUE(refused({f, "scale"}, [](Problem& p, Out&) { p.o.scale = NAN; }));
    EXPECT_TRUE(refused({f, "o", "overlaps"}, [](Problem& p, Out& out) { out.o.data = p.q.data() + 4; }));
    EXPECT_TRUE(refused({f, "k"}, [](Problem& p, Out&) { p.x.v.tokens = p.x.k.tokens = std::int64_t{1} << 61; }));
    std::vector<float> logits(6), weight(2), mixed(3);
    EXPECT_TRUE(refuses(
        [&] {
            attenta::mix_bucket_logits({logits.data(), 1, 3, 2}, weight, mixed);
        },
        {"mix_bucket_logits", "weight", "2", "3"}));
    EXPECT_TRUE(refuses(
        [&] {
            attenta::mix_bucket_logits({mixed.data(), 1, 1, 3}, std::span(weight).first(1), mixed);
        },
        {"mix_bucket_logits", "mixed", "overlaps", "logits"}));
}

}  // namespace
}  // namespace attenta_test
