// The damped moving average equals its definition, at any cut, in both directions; its errors.
#include <attenta/variants/damped_ema.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::EmaActivation, attenta::LinearState, attenta::Matrices;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

struct Ema {
    std::vector<double> o, state;  ///< [T, D], [N, D]
};

double naive_sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

//   p = σ(delta), φ = 1 − p σ(alpha);  h_t = φ h_{t−1} + p beta x_t;  y_t = √(1/N) Σ_n gamma h_t + omega x_t;  silu(y)
Ema naive_ema(const attenta::DampedEmaInputs& x, const attenta::DampedEmaOptions& options, const LinearState& past) {
    const std::int64_t T = x.x.rows, D = x.x.cols, N = x.delta.cols;
    Ema r{std::vector<double>(static_cast<std::size_t>(T * D)), std::vector<double>(static_cast<std::size_t>(N * D))};
    for (std::int64_t c = 0; c < D; ++c) {
        const auto token = [&](std::int64_t t) { return double{x.x.row(0, t)[c]}; };
        for (std::int64_t direction = 0; direction < (options.bidirectional ? 2 : 1); ++direction)
            for (std::int64_t n = 0; n < N; ++n) {
                const auto of = [&](const Matrices<const float>& m) { return double{m.row(0, direction * D + c)[n]}; };
                const double p = naive_sigmoid(of(x.delta)), decay = 1 - p * naive_sigmoid(of(x.alpha));
                double h = past.empty() ? 0 : double{past.matrix.data()[n * D + c]};
                for (std::int64_t i = 0; i < T; ++i) {
                    const std::int64_t t = direction == 0 ? i : T - 1 - i;
                    h = decay * h + p * of(x.beta) * token(t);
                    r.o.data()[t * D + c] += of(x.gamma) * h / std::sqrt(static_cast<double>(N));
                }
                r.state.data()[n * D + c] = h;
            }
        for (std::int64_t t = 0; t < T; ++t) {
            double& y = r.o.data()[t * D + c];
            y += double{x.omega.data()[c]} * token(t);
            if (options.activation == EmaActivation::silu) y *= naive_sigmoid(y);
        }
    }
    if (options.bidirectional) r.state.clear();
    return r;
}

/// A call with all that it borrows; rows lie apart by `pad`.
struct Case {
    Case(std::int64_t tokens, std::int64_t channels, std::int64_t components, bool both, bool with_past,
         std::int64_t pad = 0, float slow = 0)
        : T(tokens), D(channels), N(components), random(static_cast<std::uint64_t>(tokens * 100 + channels)) {
        options.bidirectional = both;
        x.x = matrix(T, D, pad);
        for (Matrices<const float>* m : {&x.delta, &x.alpha, &x.beta, &x.gamma}) *m = matrix(both ? 2 * D : D, N, pad);
        tensors[1].each_row([&](float* row, std::int64_t, std::int64_t) {
            for (std::int64_t n = 0; n < N; ++n) row[n] -= slow;
        });
        omega = random.normals(D);
        x.omega = omega;
        memory = Tensor<float>(1, T, D, Order::head_token, pad);
        o = {memory.row(0, 0), 1, T, D, D + pad};
        if (!with_past) return;
        past = LinearState(1, N, D);
        past.matrix = random.normals(N * D);
    }
    Case(const Case&) = delete;

    std::int64_t T, D, N;
    Random random;
    std::vector<Tensor<float>> tensors;
    std::vector<float> omega;
    attenta::DampedEmaInputs x;
    attenta::DampedEmaOptions options;
    LinearState past;
    Tensor<float> memory;
    Matrices<float> o;

    LinearState run(Context& context) const {
        LinearState state = past;
        attenta::damped_ema(x, o, state, options, context);
        return state;
    }
    std::vector<float> rows() const {
        std::vector<float> all;
        memory.each_row([&](float* row, std::int64_t, std::int64_t) { all.insert(all.end(), row, row + D); });
        return all;
    }
    std::string words() const {
        std::ostringstream text;
        text << "T " << T << " D " << D << " N " << N << (options.bidirectional ? ", both directions" : "")
             << (past.empty() ? "" : ", past");
        return text.str();
    }

private:
    Matrices<const float> matrix(std::int64_t rows, std::int64_t columns, std::int64_t pad) {
        tensors.push_back(random_tensor(random, 1, rows, columns, Order::head_token, pad));
        return {tensors.back().row(0, 0), 1, rows, columns, columns + pad};
    }
};

/// NaN where the definition has it.
void expect_close(const std::vector<float>& got, const std::vector<double>& want, const std::string& words) {
    ASSERT_EQ(got.size(), want.size()) << words;
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double g = double{got[i]};
        ASSERT_TRUE(std::isnan(want[i]) ? std::isnan(g) : std::abs(g - want[i]) <= 2e-5 + 2e-4 * std::abs(want[i]))
            << i << " is " << g << ", expected " << want[i] << ", " << words;
    }
}

void expect_definition(const Case& c) {
    const Ema want = naive_ema(c.x, c.options, c.past);
    on_every_isa([&](Context& context) {
        const LinearState state = c.run(context);
        expect_close(c.rows(), want.o, c.words());
        expect_close(state.matrix, want.state, c.words());
        EXPECT_TRUE(c.memory.padding_is_untouched()) << c.words();
    });
}

TEST(DampedEma, EqualsItsDefinition) {
    for (const std::int64_t T : {1, 2, 7, 40, 130})
        for (const std::int64_t D : {1, 5, 16, 33, 200})
            for (const std::int64_t N : {1, 4, 6, 16})
                for (const bool both : {false, true}) {
                    Case c(T, D, N, both, !both && T % 2 == 0, D % 2 == 0 ? 3 : 0);
                    if (N == 4) c.options.activation = EmaActivation::none;
                    expect_definition(c);
                }
}

/// What a slow decay loses at a step has few digits in 1 − φ.
TEST(DampedEma, SlowDecaysKeepTheirTimeConstant) {
    Case c(4000, 9, 3, false, true, 0, 9);
    c.options.activation = EmaActivation::none;
    expect_definition(c);
}

TEST(DampedEma, CutsAndThreadsChangeNoBit) {
    on_every_isa([](Context& context) {
        const Case whole(23, 300, 4, false, true);
        const LinearState want = whole.run(context);
        for (std::int64_t cut = 1; cut < whole.T; ++cut) {
            const Case parts(23, 300, 4, false, true);
            LinearState state = parts.past;
            for (const auto& [begin, count] : {std::pair{std::int64_t{0}, cut}, {cut, whole.T - cut}}) {
                attenta::DampedEmaInputs x = parts.x;
                x.x.data += begin * x.x.row_stride, x.x.rows = count;
                attenta::damped_ema(x, {parts.o.row(0, begin), 1, count, 300}, state, parts.options, context);
            }
            EXPECT_EQ(parts.rows(), whole.rows()) << cut;
            EXPECT_EQ(state.matrix, want.matrix) << cut;
        }
    });
    const Case one(60, 700, 4, true, false), three(60, 700, 4, true, false);
    attenta::ThreadPool pool(3);
    Context serial, threads(pool);
    one.run(serial), three.run(threads);
    EXPECT_EQ(one.rows(), three.rows());
}

TEST(DampedEma, NanIsWhereTheDefinitionHasIt) {
    for (const bool both : {false, true})
        for (std::size_t i = 0; i < 5; ++i) {
            Case c(9, 21, 4, both, false);
            const auto& v = c.tensors[i].view();
            c.tensors[i].row(0, v.tokens / 2)[v.dim / 2] = nan;
            expect_definition(c);
        }
}

template <class Spoil>
testing::AssertionResult refused(std::initializer_list<std::string_view> words, Spoil&& spoil, bool both = false) {
    Case c(6, 8, 3, both, !both);
    spoil(c);
    const LinearState before = c.past;
    LinearState state = c.past;
    testing::AssertionResult result = refuses([&] { attenta::damped_ema(c.x, c.o, state, c.options); }, {"damped_ema"});
    if (result) result = refuses([&] { attenta::damped_ema(c.x, c.o, state, c.options); }, words);
    if (!result) return result;
    if (std::isfinite(c.memory.row(0, 0)[0])) return testing::AssertionFailure() << "o was written";
    if (state.matrix.size() != before.matrix.size()) return testing::AssertionFailure() << "the state was written";
    return testing::AssertionSuccess();
}

TEST(DampedEmaErrors, ShapesStatesAndNumbers) {
    const std::int64_t huge = std::int64_t{1} << 62;
    EXPECT_TRUE(refused({"x", "0"}, [](Case& c) { c.x.x.rows = c.o.rows = 0; }));
    EXPECT_TRUE(refused({"x", "null"}, [](Case& c) { c.x.x.data = nullptr; }));
    EXPECT_TRUE(refused({"x"}, [=](Case& c) { c.x.x.row_stride = huge; }));
    EXPECT_TRUE(refused({"x"}, [=](Case& c) { c.x.x.cols = huge; }));
    EXPECT_TRUE(refused({"delta", "7", "8"}, [](Case& c) { c.x.delta.rows = 7; }));
    EXPECT_TRUE(refused(
        {"delta", "8", "16"}, [](Case& c) { c.x.delta.rows = 8; }, true));
    EXPECT_TRUE(refused({"delta", "0"}, [](Case& c) { c.x.delta.cols = 0; }));
    EXPECT_TRUE(refused({"gamma", "2", "3"}, [](Case& c) { c.x.gamma.cols = 2; }));
    EXPECT_TRUE(refused({"alpha", "null"}, [](Case& c) { c.x.alpha.data = nullptr; }));
    EXPECT_TRUE(refused({"omega", "7", "8"}, [](Case& c) { c.x.omega = c.x.omega.first(7); }));
    EXPECT_TRUE(refused({"o", "5", "6"}, [](Case& c) { c.o.rows = 5; }));
    EXPECT_TRUE(refused({"o", "null"}, [](Case& c) { c.o.data = nullptr; }));
    EXPECT_TRUE(refused({"o", "x"}, [](Case& c) { c.x.x.data = c.o.data; }));
    EXPECT_TRUE(refused({"state", "4", "3"}, [](Case& c) { c.past = LinearState(1, 4, 8); }));
    EXPECT_TRUE(refused(
        {"state", "empty"}, [](Case& c) { c.past = LinearState(1, 3, 8); }, true));
    EXPECT_TRUE(
        refused({"beta", "nan"}, [](Case& c) { c.options.check_data = true, c.tensors[3].row(0, 7)[2] = nan; }));
    EXPECT_TRUE(refused({"state", "nan"}, [](Case& c) { c.options.check_data = true, c.past.matrix[5] = nan; }));
}

}  // namespace
}  // namespace attenta_test
