// What must hold for every linear attention: cuts, causality, heads, layouts, threads.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cfenv>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "linear/support/compare.hpp"
#include "linear/support/suite.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

constexpr double rounding = 1e-5;
constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

class LinearProperties : public LinearSuite {};
ATTENTA_LINEAR_SUITE(LinearProperties);

/// fn(case) for every option of the mechanism that cuts nicely, without a past and with one.
template <class F>
void for_each_causal_case(const LinearMechanism& m, const LinearShape& shape, F&& fn) {
    for (std::size_t variant = 0; variant < m.variants.size(); ++variant)
        for (const bool past : {false, true}) {
            const Gates gates = static_cast<Gates>((variant + past) % 4);
            LinearCase c = linear_case(m, shape, gates, variant, past, 3);
            if (m.fix_length) m.fix_length(c);
            if (!c.shape.Tq && (!m.can_be_cut || m.can_be_cut(c))) fn(c);
        }
}

/// The parts between `cuts`, the state passed on.
LinearOutput in_parts(const LinearCase& c, const std::vector<std::int64_t>& cuts, Context& context) {
    LinearOutput all{Tensor<float>(c.output_heads(), c.shape.T, c.shape.Dv), c.past};
    std::int64_t begin = 0;
    for (const std::int64_t end : cuts) {
        LinearOutput part = attend(c, begin, end - begin, std::move(all.state), context);
        part.o.each_row(
            [&](float* row, std::int64_t h, std::int64_t t) { std::copy_n(row, c.shape.Dv, all.o.row(h, begin + t)); });
        all.state = std::move(part.state);
        begin = end;
    }
    return all;
}

void expect_cuts_change_nothing(const LinearCase& c, const LinearOutput& whole, const std::vector<std::int64_t>& cuts,
                                Context& context) {
    const LinearOutput parts = in_parts(c, cuts, context);
    EXPECT_LE(distance(rows_of(parts.o), rows_of(whole.o)), rounding) << describe(c) << ", cut at " << cuts[0];
    EXPECT_LE(distance(parts.state, whole.state), rounding) << describe(c) << ", cut at " << cuts[0];
}

TEST_P(LinearProperties, CutAnywhereAShortSequenceGivesTheSame) {
    on_every_isa([&](Context& context) {
        for_each_causal_case(*GetParam(), {4, 2, 2, 19, 16, 9}, [&](const LinearCase& c) {
            const LinearOutput whole = attend(c, context);
            for (std::int64_t cut = 1; cut < c.shape.T; ++cut)
                expect_cuts_change_nothing(c, whole, {cut, c.shape.T}, context);
        });
    });
}

TEST_P(LinearProperties, CutAtRandomALongSequenceGivesTheSame) {
    Random random(11);
    std::vector<std::int64_t> cuts;
    for (std::int64_t at = random.integer(1, 80); at < 230; at += random.pick<std::int64_t>({1, 2, 16, 64, 91}))
        cuts.push_back(at);
    cuts.push_back(230);
    on_every_isa([&](Context& context) {
        for_each_causal_case(*GetParam(), {2, 1, 2, 230, 24, 33}, [&](const LinearCase& c) {
            expect_cuts_change_nothing(c, attend(c, context), cuts, context);
        });
    });
}

TEST_P(LinearProperties, TokenByTokenGivesTheSameAsAtOnce) {
    std::vector<std::int64_t> cuts;
    for (std::int64_t t = 1; t <= 70; ++t) cuts.push_back(t);
    on_every_isa([&](Context& context) {
        for_each_causal_case(*GetParam(), {3, 3, 3, 70, 33, 16}, [&](const LinearCase& c) {
            expect_cuts_change_nothing(c, attend(c, context), cuts, context);
        });
    });
}

/// Row t of every input, all channels.
void set_token(const LinearCase& c, std::int64_t t, float number) {
    for (const auto& [name, x] : c.inputs) {
        if (x.along == Along::nothing) continue;
        const bool gate = name == "g" || name == "gv";
        for (std::int64_t h = 0; h < x.tensor.view().heads; ++h)
            std::fill_n(x.tensor.row(h, t), x.tensor.view().dim, gate && number > 0 ? -number : number);
    }
}

testing::AssertionResult equal_before(const LinearOutput& a, const LinearOutput& b, std::int64_t end) {
    testing::AssertionResult result = testing::AssertionSuccess();
    a.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        if (result && t < end && !equal_bits(row, b.o.row(h, t), a.o.view().dim))
            result = testing::AssertionFailure()
                     << "head " << h << " token " << t << ": " << row[0] << " and " << b.o.row(h, t)[0];
    });
    return result;
}

TEST_P(LinearProperties, LaterTokensChangeNothingToTheBit) {
    const auto expect_no_change = [](const LinearCase& c, std::int64_t t, Context& context) {
        const LinearOutput before = attend(c, context);
        for (const float number : {nan, infinity, 3.0f}) {
            const LinearCase later = c.copy();
            set_token(later, t, number);
            EXPECT_TRUE(equal_before(before, attend(later, context), t))
                << describe(c) << ", token " << t << " is " << number;
        }
    };
    on_every_isa([&](Context& context) {
        for (const std::int64_t T : {16, 64, 150})
            for_each_causal_case(*GetParam(), {2, 1, 2, T, 16, 9}, [&](const LinearCase& c) {
                for (const std::int64_t t : {T / 2, T / 2 + 3, T - 1}) expect_no_change(c, t, context);
            });
    });
}

/// What is read by the output alone.
bool is_read_only(const std::string& name) {
    return name == "q" || name == "C" || name == "u" || name == "z" || name == "D" || name == "diag_r" ||
           name == "diag_p" || name == "local_weight";
}

TEST_P(LinearProperties, AQueryIsReadByItsOwnRowAlone) {
    const auto expect_own_row = [](const LinearCase& c, Context& context) {
        if (c.mechanism->rows_alone && !c.mechanism->rows_alone(c)) return;
        const std::int64_t t = c.queries() / 2;
        const LinearCase other = c.copy();
        const Tensor<float>& q = other.inputs.find(c.views()["q"].data ? "q" : "C")->second.tensor;
        for (std::int64_t h = 0; h < q.view().heads; ++h) std::fill_n(q.row(h, t), q.view().dim, nan);
        const LinearOutput before = attend(c, context), after = attend(other, context);
        after.o.each_row([&](float* row, std::int64_t h, std::int64_t i) {
            EXPECT_TRUE(i == t || equal_bits(row, before.o.row(h, i), c.shape.Dv))
                << describe(c) << ", head " << h << ", token " << i;
        });
        EXPECT_TRUE(equal_bits(before.state, after.state)) << describe(c);
    };
    on_every_isa([&](Context& context) {
        for (const std::int64_t T : {5, 64, 150})
            for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
                expect_own_row(linear_case(*GetParam(), {4, 2, 2, T, 16, 9}, Gates::mild, variant, true), context);
    });
}

/// Rows of o of the heads that do not read input head j of h, and the state heads that it does not feed.
testing::AssertionResult equal_elsewhere(const LinearCase& c, const LinearOutput& a, const LinearOutput& b,
                                         std::int64_t h, std::int64_t j, bool read_only) {
    testing::AssertionResult result = testing::AssertionSuccess();
    const std::int64_t Ho = a.o.view().heads, Hs = a.state.heads, size = a.state.dim * a.state.dim_v;
    a.o.each_row([&](float* row, std::int64_t i, std::int64_t t) {
        if (result && !c.mechanism->joins_heads && i / (Ho / h) != j && !equal_bits(row, b.o.row(i, t), a.o.view().dim))
            result = testing::AssertionFailure() << "output head " << i << " token " << t;
    });
    const auto same = [&](const std::vector<float>& x, const std::vector<float>& y, std::int64_t s, std::int64_t n) {
        return x.empty() || equal_bits(x.data() + s * n, y.data() + s * n, n);
    };
    for (std::int64_t s = 0; s < Hs && result; ++s) {
        if (!read_only && s / (Hs / h) == j) continue;
        if (!same(a.state.matrix, b.state.matrix, s, size) ||
            !same(a.state.normalizer, b.state.normalizer, s, a.state.dim) ||
            !same(a.state.weight, b.state.weight, s, 1) ||
            !same(a.state.key_max, b.state.key_max, s, static_cast<std::int64_t>(a.state.key_max.size()) / Hs))
            result = testing::AssertionFailure() << "state head " << s;
    }
    return result;
}

void expect_nan_stays(const LinearCase& c, Context& context) {
    if (c.mechanism->heads_alone && !c.mechanism->heads_alone(c)) return;
    const LinearOutput before = attend(c, context);
    for (const auto& [name, x] : c.inputs) {
        const std::int64_t h = x.tensor.view().heads, j = h / 2, dim = x.tensor.view().dim;
        if (h == 1) continue;  // shared by all
        const LinearCase spoiled = c.copy();
        spoiled.inputs.find(name)->second.tensor.each_row([&](float* row, std::int64_t head, std::int64_t) {
            if (head == j) std::fill_n(row, dim, nan);
        });
        EXPECT_TRUE(equal_elsewhere(c, before, attend(spoiled, context), h, j, is_read_only(name)))
            << describe(c) << ", NaN in " << name;
    }
    LinearCase spoiled = c.copy();
    std::fill_n(spoiled.past.of(1), c.past.dim * c.past.dim_v, nan);
    EXPECT_TRUE(equal_elsewhere(c, before, attend(spoiled, context), c.past.heads, 1, false))
        << describe(c) << ", NaN in the past";
}

TEST_P(LinearProperties, NanStaysInItsHead) {
    on_every_isa([&](Context& context) {
        for (const LinearShape& s : {LinearShape{4, 2, 2, 1, 16, 9}, {4, 2, 2, 70, 16, 9}, {2, 2, 4, 70, 16, 9}})
            for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
                expect_nan_stays(linear_case(*GetParam(), s, Gates::mild, variant, true), context);
    });
}

/// NaN stands exactly where it stands in the definition, and other numbers are right: what comes before the row, other
/// heads and other channels are untouched, what depends on it is not a number.
void expect_nan_of_the_definition(const LinearCase& c, Context& context) {
    const NaiveLinear want = naive(c);
    const LinearOutput got = attend(c, context);
    const auto expect_same = [&](const char* what, const auto& g, const auto& w) {
        ASSERT_EQ(g.size(), w.size()) << what;
        for (std::size_t i = 0; i < g.size(); ++i) {
            ASSERT_EQ(std::isnan(g[i]), std::isnan(w[i])) << describe(c) << ", " << what << " " << i;
            if (!std::isnan(g[i])) {
                ASSERT_NEAR(double{g[i]}, double{w[i]}, 2e-4 * std::max(1.0, std::abs(double{w[i]})))
                    << describe(c) << ", " << what << " " << i;
            }
        }
    };
    expect_same("o", rows_of(got.o), want.o);
    expect_same("matrix", got.state.matrix, want.matrix);
    expect_same("normalizer", got.state.normalizer, want.normalizer);
}

/// Head and token in the middle, the last channel alone or all of them.
void spoil_a_row(const LinearCase& c, const std::string& name, bool all_channels) {
    const Tensor<float>& x = c.inputs.find(name)->second.tensor;
    const View v = x.view();
    float* const row = x.row(v.heads / 2, v.tokens / 2);
    std::fill(all_channels ? row : row + v.dim - 1, row + v.dim, nan);
}

TEST_P(LinearProperties, NanInARowOfAnyInputIsWhereTheDefinitionHasIt) {
    const auto expect_for_every_input = [](const LinearCase& c, Context& context) {
        for (const auto& [name, x] : c.inputs)
            for (const bool all_channels : {false, true}) {
                LinearCase spoiled = c.copy();
                spoil_a_row(spoiled, name, all_channels);
                spoiled.words += ", NaN in " + name;
                expect_nan_of_the_definition(spoiled, context);
            }
    };
    // Steps; chunks; a NaN in the first chunk of two, in the last of two, in the last token.
    on_every_isa([&](Context& context) {
        for (const std::int64_t T : {1, 4, 5, 17, 40, 90})
            for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
                expect_for_every_input(linear_case(*GetParam(), {4, 2, 2, T, 12, 9}, Gates::mild, variant, true),
                                       context);
    });
}

TEST_P(LinearProperties, NanInThePastIsWhereTheDefinitionHasIt) {
    on_every_isa([&](Context& context) {
        for (const std::int64_t T : {1, 5, 40})
            for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
                LinearCase c = linear_case(*GetParam(), {4, 2, 2, T, 12, 9}, Gates::mild, variant, true);
                c.past.of(1)[7 * c.past.dim_v + 4] = nan;
                expect_nan_of_the_definition(c, context);
                if (c.past.normalizer.empty()) continue;
                c.past.of(1)[7 * c.past.dim_v + 4] = 1;
                c.past.normalizer[7] = nan;
                expect_nan_of_the_definition(c, context);
            }
    });
}

/// Gates that are fully closed: for all tokens, for every third, at the cut.
TEST_P(LinearProperties, ClosedGatesForgetWithoutATrace) {
    const auto close_gates = [](const LinearCase& c, std::int64_t every) {
        for (const auto& [name, x] : c.inputs)
            if (name == "g" || name == "gv")
                for (std::int64_t h = 0; h < x.tensor.view().heads; ++h)
                    for (std::int64_t t = 0; t < x.tensor.view().tokens; t += every)
                        std::fill_n(x.tensor.row(h, t), x.tensor.view().dim, -infinity);
    };
    on_every_isa([&](Context& context) {
        for (const std::int64_t T : {1, 4, 5, 40})
            for (const std::int64_t every : {1, 3})
                for_each_causal_case(*GetParam(), {4, 2, 2, T, 12, 9}, [&](const LinearCase& c) {
                    if (!c.views()["g"].data && !c.views()["gv"].data) return;
                    close_gates(c, every);
                    const LinearOutput whole = attend(c, context);
                    EXPECT_TRUE(close(whole, naive(c))) << describe(c);
                    for (const std::int64_t cut : {T / 3, 3 * (T / 6), T - 1})
                        if (cut > 0) expect_cuts_change_nothing(c, whole, {cut, T}, context);
                });
    });
}

/// fn(case) for every option at a few shapes.
template <class F>
void for_each_option(const LinearMechanism& m, F&& fn) {
    const LinearShape shapes[] = {
        {4, 2, 4, 1, 64, 48}, {4, 2, 2, 7, 33, 9}, {2, 1, 2, 65, 16, 24}, {3, 3, 3, 200, 8, 17}};
    for (std::size_t variant = 0; variant < m.variants.size(); ++variant)
        for (const LinearShape& s : shapes)
            fn(linear_case(m, s, static_cast<Gates>(variant % 3), variant, variant % 2 == 0, 5));
}

/// Tasks from the last to the first, each in another slot than its neighbours.
auto backwards(int slots) {
    return attenta::ExecutorAdapter(slots, [slots](std::int64_t n, attenta::TaskRef fn) {
        for (std::int64_t task = n; task-- > 0;) fn(task, static_cast<int>(task % slots));
    });
}

/// On every instruction set.
void expect_serial_bits(const LinearCase& c, std::initializer_list<attenta::Executor*> executors) {
    for (const attenta::Isa isa : available_isas()) {
        const IsaScope scope(isa);
        Context serial;
        const LinearOutput want = attend(c, serial);
        for (attenta::Executor* executor : executors) {
            Context context(*executor);
            EXPECT_TRUE(equal_bits(attend(c, context), want))
                << describe(c) << ", " << name(isa) << ", threads " << executor->concurrency();
        }
    }
}

TEST_P(LinearProperties, AnyNumberOfThreadsGivesTheSameBits) {
    attenta::ThreadPool two(2), three(3);
    auto three_backwards = backwards(3);
    for_each_option(*GetParam(), [&](const LinearCase& c) { expect_serial_bits(c, {&two, &three, &three_backwards}); });
}

TEST_P(LinearProperties, ManyThreadsOnFewHeadsGiveTheSameBits) {
    attenta::ThreadPool sixteen(16);
    auto many_backwards = backwards(32);
    const LinearShape shapes[] = {{1, 1, 1, 1030, 16, 40}, {2, 2, 2, 700, 33, 9}, {4, 2, 2, 517, 24, 16}};
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const LinearShape& s : shapes)
            expect_serial_bits(
                linear_case(*GetParam(), s, static_cast<Gates>(variant % 3), variant, variant % 2 == 0, 6),
                {&sixteen, &many_backwards});
}

TEST_P(LinearProperties, AnyLayoutGivesTheSameBits) {
    on_every_isa([&](Context& context) {
        for_each_option(*GetParam(), [&](const LinearCase& c) {
            const LinearOutput want = attend(c, context);
            for (const auto& [order, pad] :
                 {std::pair{Order::token_head, 0}, {Order::token_head, 16}, {Order::head_token, 3}}) {
                const LinearCase other = c.copy(order, pad);
                const LinearOutput got = attend(other, context);
                EXPECT_TRUE(equal_bits(got, want)) << describe(other);
                EXPECT_TRUE(got.o.padding_is_untouched()) << describe(other);
            }
        });
    });
}

#if defined(__GLIBC__) && (defined(__SSE2__) || defined(__aarch64__))
/// A child process with traps on ends well. Its scratch holds what no sum or product survives.
void expect_no_trap(const LinearCase& c, attenta::Executor& executor) {
    const auto huge_scratch = [](std::size_t bytes) -> void* {
        auto* const p = static_cast<float*>(std::aligned_alloc(64, bytes));
        std::fill_n(p, bytes / sizeof(float), FLT_MAX);
        return p;
    };
    EXPECT_EXIT(
        {
            Context context(executor, {huge_scratch, [](void* p, std::size_t) { std::free(p); }});
            feenableexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW);
            attend(c, context);
            std::_Exit(0);
        },
        testing::ExitedWithCode(0), "")
        << describe(c) << ", slots " << executor.concurrency();
}

/// Numbers that functions of them could make too large on the way.
void widen(LinearCase& c) {
    for (const auto& [name, x] : c.inputs) {
        if (name == "z") change(c, "z", [](float z) { return 200 * z; });
        if (name == "g") change(c, "g", [](float g) { return g < -0.1f ? -FLT_MAX : g; });
        if (name == "gv") change(c, "gv", [](float g) { return g < -0.1f ? -FLT_MAX : g; });
    }
    if (c.mechanism->widen) c.mechanism->widen(c);
    c.words += ", wide";
}

/// Good numbers raise nothing: engines switch traps on to find their own faults.
TEST_P(LinearProperties, CallsRaiseNoFloatingPointTraps) {
    attenta::SerialExecutor serial;
    auto many = backwards(32);
    for (const attenta::Isa isa : available_isas()) {
        const IsaScope scope(isa);
        for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
            for (const Gates gates : {Gates::mild, Gates::strong, Gates::closed, Gates::zero}) {
                for (const std::int64_t T : {1, 3, 41})
                    expect_no_trap(linear_case(*GetParam(), {4, 2, 2, T, 17, 9}, gates, variant, T != 41), serial);
                LinearCase wide = linear_case(*GetParam(), {1, 1, 1, 290, 17, 9}, gates, variant);
                widen(wide);
                expect_no_trap(wide, many);
            }
    }
}
#endif

TEST_P(LinearProperties, CallsLeaveTheFloatingPointModeAlone) {
    Context context;
    for_each_option(*GetParam(), [&](const LinearCase& c) {
        attend(c, context);
        const volatile float smallest = FLT_MIN;
        EXPECT_GT(smallest / 2, 0.0f) << "subnormal numbers are flushed to zero after " << describe(c);
    });
}

}  // namespace
}  // namespace attenta_test
