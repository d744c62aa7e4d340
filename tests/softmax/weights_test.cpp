// Exact weights in two passes, and what looks at them or changes them.
#include <attenta/attenta.hpp>
#include <attenta/softmax/weights.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

using attenta::Isa;

struct Problem {
    int Hq, Hkv, Tq, Tk, D, Dv;
    bool causal;
    int window = -1;
    std::vector<float> q, k, v;

    Problem(int hq, int hkv, int tq, int tk, int d, int dv, bool c, int w = -1)
        : Hq(hq),
          Hkv(hkv),
          Tq(tq),
          Tk(tk),
          D(d),
          Dv(dv),
          causal(c),
          window(w),
          q(size(hq, tq, d)),
          k(size(hkv, tk, d)),
          v(size(hkv, tk, dv)) {
        std::mt19937 random(7);
        std::normal_distribution<float> normal;
        for (auto* x : {&q, &k, &v})
            for (float& f : *x) f = normal(random);
    }
    static std::size_t size(int a, int b, int c) {
        return static_cast<std::size_t>(a) * static_cast<std::size_t>(b) * static_cast<std::size_t>(c);
    }
    attenta::Heads<const float> queries() const { return attenta::hnd(q.data(), Hq, Tq, D); }
    attenta::KvView kv() const {
        return attenta::KvView::of(attenta::hnd(k.data(), Hkv, Tk, D), attenta::hnd(v.data(), Hkv, Tk, Dv));
    }
    attenta::SoftmaxOptions options() const { return {.causal = causal, .window_left = window}; }

    /// Weights [Hq, Tq, Tk] in double.
    std::vector<double> weights() const {
        std::vector<double> p(size(Hq, Tq, Tk));
        for (int h = 0; h < Hq; ++h)
            for (int i = 0; i < Tq; ++i) {
                double* row = p.data() + (static_cast<std::ptrdiff_t>(h) * Tq + i) * Tk;
                const int at = i + Tk - Tq;
                double top = -std::numeric_limits<double>::infinity(), sum = 0;
                for (int j = 0; j < Tk; ++j) {
                    double s = 0;
                    for (int c = 0; c < D; ++c)
                        s += static_cast<double>(queries().row(h, i)[c]) *
                             static_cast<double>(
                                 k[size(h / (Hq / Hkv), Tk, D) + size(1, j, D) + static_cast<std::size_t>(c)]);
                    const bool seen = (!causal || j <= at) && (window < 0 || j >= at - window);
                    row[j] = seen ? s / std::sqrt(static_cast<double>(D)) : -std::numeric_limits<double>::infinity();
                    top = std::max(top, row[j]);
                }
                for (int j = 0; j < Tk; ++j) sum += row[j] = std::isinf(row[j]) ? 0.0 : std::exp(row[j] - top);
                for (int j = 0; j < Tk; ++j) row[j] = sum > 0 ? row[j] / sum : 0.0;
            }
        return p;
    }
};

const Problem problems[] = {{2, 2, 1, 1, 8, 8, true},       {4, 2, 1, 300, 32, 24, true},
                            {4, 1, 17, 257, 20, 12, true},  {6, 3, 130, 130, 16, 16, true, 9},
                            {8, 2, 64, 500, 64, 80, false}, {1, 1, 700, 700, 7, 5, true}};

template <class F>
void everywhere(F&& f) {
    const Isa before = attenta::active_isa();
    for (int i = 0; i < attenta::isa_count; ++i) {
        const auto isa = static_cast<Isa>(i);
        if (!attenta::is_available(isa)) continue;
        attenta::set_isa(isa);
        SCOPED_TRACE(attenta::name(isa));
        for (const int threads : {1, 2}) {
            attenta::ThreadPool pool(threads);
            attenta::Context context(pool);
            for (const Problem& p : problems) {
                SCOPED_TRACE(testing::Message()
                             << "Hq " << p.Hq << " Tq " << p.Tq << " Tk " << p.Tk << " threads " << threads);
                f(p, context);
            }
        }
    }
    attenta::set_isa(before);
}

TEST(SoftmaxWeights, StatisticsAreTheLseOfTheFullCall) {
    everywhere([](const Problem& p, attenta::Context& context) {
        std::vector<float> full(Problem::size(p.Hq, p.Tq, 1)), o(Problem::size(p.Hq, p.Tq, p.Dv));
        std::vector<attenta::RowStatistics> alone(full.size());
        attenta::softmax_attention(p.queries(), p.kv(), attenta::hnd(o.data(), p.Hq, p.Tq, p.Dv), p.options(),
                                   full.data(), context);
        attenta::softmax_statistics(p.queries(), p.kv(), alone.data(), p.options(), context);
        for (std::size_t r = 0; r < full.size(); ++r)
            EXPECT_NEAR(alone[r].lse(), full[r], 2e-6f * (1 + std::abs(full[r])));
    });
}

TEST(SoftmaxWeights, ColumnSumsAndLastRowsAreExact) {
    everywhere([](const Problem& p, attenta::Context& context) {
        const int last = std::min(p.Tq, 5);
        std::vector<attenta::RowStatistics> statistics(Problem::size(p.Hq, p.Tq, 1));
        std::vector<float> sums(Problem::size(p.Hq, p.Tk, 1)), rows(Problem::size(p.Hq, last, p.Tk));
        attenta::softmax_statistics(p.queries(), p.kv(), statistics.data(), p.options(), context);
        attenta::softmax_weights(p.queries(), p.kv(), statistics.data(),
                                 attenta::edit(attenta::edits::ColumnSums{sums.data(), p.Tk}) |
                                     attenta::edit(attenta::edits::LastRows{rows.data(), p.Tk, p.Tq, last}),
                                 {}, p.options(), context);
        const std::vector<double> w = p.weights();
        for (int h = 0; h < p.Hq; ++h)
            for (int j = 0; j < p.Tk; ++j) {
                double sum = 0;
                for (int i = 0; i < p.Tq; ++i) {
                    const double want =
                        w[Problem::size(h, p.Tq, p.Tk) + Problem::size(1, i, p.Tk) + static_cast<std::size_t>(j)];
                    sum += want;
                    if (const int r = i - (p.Tq - last); r >= 0) {
                        ASSERT_NEAR(rows[Problem::size(h, last, p.Tk) + Problem::size(1, r, p.Tk) +
                                         static_cast<std::size_t>(j)],
                                    want, 2e-6);
                    }
                }
                ASSERT_NEAR(sums[Problem::size(h, p.Tk, 1) + static_cast<std::size_t>(j)], sum, 2e-5);
            }
    });
}

TEST(SoftmaxWeights, EditedWeightsMeetTheValues) {
    everywhere([](const Problem& p, attenta::Context& context) {
        std::vector<attenta::RowStatistics> statistics(Problem::size(p.Hq, p.Tq, 1));
        std::vector<float> o(Problem::size(p.Hq, p.Tq, p.Dv));
        attenta::softmax_statistics(p.queries(), p.kv(), statistics.data(), p.options(), context);
        const auto halve_even_keys = attenta::edit([](attenta::ScoreTile& t) {
            for (std::int64_t r = 0; r < t.rows; ++r)
                for (std::int64_t i = 0; i < t.keys.count; ++i)
                    if (t.keys.position(i) % 2 == 0) t.s[r * t.stride + i] *= 0.5f;
        });
        attenta::softmax_weights(p.queries(), p.kv(), statistics.data(), {halve_even_keys},
                                 attenta::hnd(o.data(), p.Hq, p.Tq, p.Dv), p.options(), context);
        const std::vector<double> w = p.weights();
        for (int h = 0; h < p.Hq; ++h)
            for (int i = 0; i < p.Tq; ++i)
                for (int c = 0; c < p.Dv; ++c) {
                    double want = 0;
                    for (int j = 0; j < p.Tk; ++j)
                        want +=
                            w[Problem::size(h, p.Tq, p.Tk) + Problem::size(1, i, p.Tk) + static_cast<std::size_t>(j)] *
                            (j % 2 == 0 ? 0.5 : 1.0) *
                            static_cast<double>(p.v[Problem::size(h / (p.Hq / p.Hkv), p.Tk, p.Dv) +
                                                    Problem::size(1, j, p.Dv) + static_cast<std::size_t>(c)]);
                    ASSERT_NEAR(
                        o[Problem::size(h, p.Tq, p.Dv) + Problem::size(1, i, p.Dv) + static_cast<std::size_t>(c)], want,
                        5e-6);
                }
    });
}

TEST(SoftmaxWeights, RefusesWhatTheCallRefuses) {
    const Problem p(4, 2, 3, 9, 8, 8, true);
    std::vector<attenta::RowStatistics> statistics(12);
    EXPECT_THROW(attenta::softmax_statistics(p.queries(), p.kv(), nullptr, p.options()), attenta::Error);
    EXPECT_THROW(attenta::softmax_weights(p.queries(), p.kv(), nullptr, {}, {}, p.options()), attenta::Error);
    EXPECT_THROW(attenta::softmax_statistics(p.queries(), p.kv(), statistics.data(), {.window_left = -2}),
                 attenta::Error);
}

}  // namespace
