#include <attenta/variants/memory/hopfield.hpp>

#include <algorithm>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::HopfieldInputs, attenta::HopfieldOptions, attenta::HopfieldOutputs;

struct Retrieved {
    Naive result;
    std::vector<double> state, energy;  // [Hq, Tq, D], [Hq, Tq]
    std::vector<std::int64_t> steps;
};

Retrieved retrieve(const HopfieldInputs& x, const HopfieldOptions& o) {
    const View k = k_of(x.kv), v = v_of(x.kv);
    const std::int64_t heads = x.q.heads, queries = x.q.tokens, keys = k.tokens, dim = k.dim;
    const double beta = naive_scale(o.scale, dim);
    Retrieved r{{heads, queries, v.dim, {}, {}}, {}, {}, {}};
    for (std::int64_t h = 0; h < heads; ++h) {
        const auto key = [&](std::int64_t j) { return wide(k.row(h / (heads / k.heads), j), dim); };
        std::vector<std::vector<double>> xi;
        std::vector<double> lse(static_cast<std::size_t>(queries));
        for (std::int64_t i = 0; i < queries; ++i) xi.push_back(wide(x.q.row(h, i), dim));
        const auto weights = [&] {
            std::vector<double> w;
            for (std::size_t i = 0; i < xi.size(); ++i) {
                std::vector<double> s;
                for (std::int64_t j = 0; j < keys; ++j) s.push_back(beta * naive_dot(xi[i], key(j)));
                const double top = *std::max_element(s.begin(), s.end());
                double sum = 0;
                for (const double y : s) sum += std::exp(y - top);
                lse[i] = top + std::log(sum);
                for (const double y : s) w.push_back(std::exp(y - lse[i]));
            }
            return w;
        };
        auto w = weights();
        std::int64_t step = 0;
        while (step < o.steps) {
            for (std::size_t i = 0; i < xi.size(); ++i) {
                std::fill(xi[i].begin(), xi[i].end(), 0.0);
                for (std::int64_t j = 0; j < keys; ++j)
                    for (std::int64_t c = 0; c < dim; ++c)
                        xi[i][static_cast<std::size_t>(c)] +=
                            w[i * static_cast<std::size_t>(keys) + static_cast<std::size_t>(j)] *
                            key(j)[static_cast<std::size_t>(c)];
            }
            const auto before = w;
            w = weights();
            ++step;
            double change = 0;
            for (std::size_t i = 0; i < w.size(); ++i) change += (w[i] - before[i]) * (w[i] - before[i]);
            if (std::sqrt(change) <= double{o.tol}) break;
        }
        r.steps.push_back(step);
        double largest = 0;
        for (std::int64_t j = 0; j < keys; ++j) largest = std::max(largest, naive_dot(key(j), key(j)));
        for (std::size_t i = 0; i < xi.size(); ++i) {
            r.state.insert(r.state.end(), xi[i].begin(), xi[i].end());
            r.result.lse.push_back(lse[i]);
            r.energy.push_back((std::log(static_cast<double>(keys)) - lse[i]) / beta +
                               0.5 * (naive_dot(xi[i], xi[i]) + largest));
            for (std::int64_t c = 0; c < v.dim; ++c) {
                double sum = 0;
                for (std::int64_t j = 0; j < keys; ++j)
                    sum += w[i * static_cast<std::size_t>(keys) + static_cast<std::size_t>(j)] *
                           double{v.row(h / (heads / v.heads), j)[c]};
                r.result.o.push_back(sum);
            }
        }
    }
    return r;
}

Naive definition(const HopfieldInputs& x, const HopfieldOptions& o) { return retrieve(x, o).result; }

const auto& mechanism = test_attention<&attenta::hopfield, &definition>(
    {.name = "hopfield",
     .variants = {{"read-out only", [](AttentionCase& c) { options_of<HopfieldOptions>(c).steps = 0; }},
                  {"three steps", [](AttentionCase& c) { options_of<HopfieldOptions>(c).steps = 3; }}}});

TEST(Hopfield, GivesStateStepsAndEnergy) {
    for (const std::int64_t queries : {1, 9, 70}) {
        AttentionCase c = attention_case(mechanism, {3, 3, queries, 19, 20, 12});
        // Queries are noisy keys: heads settle at once or after a few steps.
        for (std::int64_t h = 0; h < 3; ++h)
            for (std::int64_t i = 0; i < queries; ++i)
                for (std::int64_t d = 0; d < 20; ++d)
                    c.view("q").row(h, i)[d] = c.view("k").row(h, i % 19)[d] + 0.2f * c.random.normal();
        auto& o = options_of<HopfieldOptions>(c);
        o = {.steps = 30, .scale = 0.7f, .tol = 0.02f};
        const auto x = inputs_of<HopfieldInputs>(c);
        const Retrieved want = retrieve(x, o);
        on_every_isa([&](Context& context) {
            Output got = output_of(c);
            Tensor<float> state(3, queries, 20, Order::token_head, 2);
            std::vector<std::int64_t> steps(3);
            std::vector<float> energy(static_cast<std::size_t>(3 * queries));
            HopfieldOutputs out;
            out.o = got.o.view(), out.lse = got.lse.data();
            out.state = state.view(), out.steps = steps.data(), out.energy = energy.data();
            attenta::hopfield(x, out, o, context);
            EXPECT_TRUE(close(got, want.result));
            EXPECT_EQ(steps, want.steps);
            EXPECT_TRUE(state.padding_is_untouched());
            for (std::size_t r = 0; r < energy.size(); ++r) {
                EXPECT_NEAR(energy[r], want.energy[r], 2e-4);
                const float* const row =
                    state.row(static_cast<std::int64_t>(r) / queries, static_cast<std::int64_t>(r) % queries);
                for (std::size_t d = 0; d < 20; ++d) EXPECT_NEAR(row[d], want.state[r * 20 + d], 1e-4);
            }
        });
    }
}

TEST(Hopfield, EnergyNeverRises) {
    AttentionCase c = attention_case(mechanism, {2, 1, 40, 60, 16, 8});
    std::vector<float> before(80, std::numeric_limits<float>::infinity()), energy(80);
    for (std::int64_t steps = 0; steps < 6; ++steps) {
        Output got = output_of(c);
        HopfieldOutputs out;
        out.o = got.o.view(), out.energy = energy.data();
        attenta::hopfield(inputs_of<HopfieldInputs>(c), out, {.steps = steps});
        for (std::size_t i = 0; i < energy.size(); ++i) EXPECT_LE(energy[i], before[i] + 1e-4f);
        before = energy;
    }
}

/// Weights of one key never change: each head stops after its first update.
TEST(Hopfield, StopsWhereNothingChanges) {
    AttentionCase c = attention_case(mechanism, {3, 1, 4, 1, 8, 8});
    Output got = output_of(c);
    std::vector<std::int64_t> steps(3);
    HopfieldOutputs out;
    out.o = got.o.view(), out.steps = steps.data();
    attenta::hopfield(inputs_of<HopfieldInputs>(c), out, {.steps = 5});
    EXPECT_EQ(steps, std::vector<std::int64_t>(3, 1));
}

TEST(Hopfield, RefusesWhatDoesNotFit) {
    AttentionCase c = attention_case(mechanism, {2, 1, 5, 40, 16, 16});
    const auto refused = [&](std::initializer_list<std::string_view> words, auto&& spoil) {
        Output got = output_of(c);
        std::vector<float> energy(10);
        HopfieldOptions o;
        HopfieldOutputs out;
        out.o = got.o.view(), out.energy = energy.data();
        spoil(o, out);
        const auto result = refuses([&] { attenta::hopfield(inputs_of<HopfieldInputs>(c), out, o); }, words);
        const float fresh = untouched<float>();
        EXPECT_TRUE(same_bits(got.o.row(0, 0), &fresh, 1));
        return result;
    };
    using Opt = HopfieldOptions;
    using Out = HopfieldOutputs;
    EXPECT_TRUE(refused({"hopfield", "steps", "-1"}, [](Opt& o, Out&) { o.steps = -1; }));
    EXPECT_TRUE(refused({"hopfield", "tol"}, [](Opt& o, Out&) { o.tol = -1; }));
    EXPECT_TRUE(refused({"hopfield", "scale", "energy"}, [](Opt& o, Out&) { o.scale = 0.f; }));
    EXPECT_TRUE(refused({"hopfield", "state", "o"}, [](Opt&, Out& out) { out.state = out.o; }));
    EXPECT_TRUE(refused({"hopfield", "energy", "q"}, [&](Opt&, Out& out) { out.energy = c.view("q").data; }));
}

}  // namespace
}  // namespace attenta_test
