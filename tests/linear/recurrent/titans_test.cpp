// The memory of Titans equals its definition; cuts between chunks, causality, threads; its errors.
#include <attenta/linear/recurrent/titans.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "linear/support/naive_titans.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

struct Case {
    Case(const TitansShape& s, const TitansOptions& chosen, bool has_past = true, std::uint64_t seed = 1,
         Order rows_order = Order::head_token, std::int64_t rows_pad = 0)
        : shape(s), options(chosen), random(seed), order(rows_order), pad(rows_pad), x(random, s, order, pad) {
        if (has_past || s.E) past = titans_past(random, s, has_past);
    }
    std::string words() const {
        return "T " + std::to_string(shape.T) + " D " + std::to_string(shape.D) + " Dv " + std::to_string(shape.Dv) +
               " E " + std::to_string(shape.E) + " chunk " + std::to_string(options.chunk);
    }

    TitansShape shape;
    TitansOptions options;
    Random random;
    Order order;
    std::int64_t pad;
    TitansTensors x;
    TitansState past;
};

struct Result {
    Tensor<float> o;
    TitansState state;
};

/// The tokens between `cuts`, the state passed on.
Result run(const Case& c, Context& context, std::vector<std::int64_t> cuts = {}) {
    Result all{Tensor<float>(c.shape.H, c.shape.T, c.shape.Dv, c.order, c.pad), c.past};
    cuts.push_back(c.shape.T);
    std::int64_t begin = 0;
    for (const std::int64_t end : cuts) {
        attenta::titans(c.x.view(begin, end - begin), all.o.view().slice(begin, end - begin), all.state, c.options,
                        context);
        begin = end;
    }
    return all;
}

void expect_definition(const Case& c) {
    const NaiveTitansResult want = naive_titans(c.x.view(0, c.shape.T), c.options, c.past);
    on_every_isa([&](Context& context) {
        const Result got = run(c, context);
        EXPECT_TRUE(close_to(rows_of(got.o), want.o)) << "o, " << c.words();
        EXPECT_TRUE(got.o.padding_is_untouched()) << c.words();
        for (std::size_t i = 0; i < want.parts.size(); ++i)
            EXPECT_TRUE(close_to(*parts_of(got.state)[i], want.parts[i]))
                << "part " << i << " of the state, " << c.words();
    });
}

/// A norm with a small eps would make the memory's steps large where its outputs are small, and rounding with them.
std::vector<TitansOptions> all_options() {
    std::vector<TitansOptions> all(7);
    for (TitansOptions& x : all) x.norm_eps = 0.3f;
    all[1].read = TitansRead::before;
    all[2].norm = TitansNorm::layer;
    all[3].residual = true, all[3].activation = TitansActivation::silu;
    all[4].activation = TitansActivation::relu, all[4].loss_scale = 0.5f;
    all[5].qk_l2norm = true, all[5].read = TitansRead::before, all[5].norm = TitansNorm::layer;
    all[6].residual = all[6].qk_l2norm = true, all[6].norm = TitansNorm::layer, all[6].eps = 0.5f;
    return all;
}
TitansOptions chunked(std::int64_t chunk, TitansOptions options = {}) {
    options.chunk = chunk;
    return options;
}

TEST(Titans, EqualsItsDefinitionForAllOptionsAndChunks) {
    for (const TitansOptions& options : all_options())
        for (const std::int64_t chunk : {1, 5, 16, 200})
            for (const std::int64_t E : {0, 13})
                expect_definition(Case({2, 37, 9, options.residual ? 9 : 12, E}, chunked(chunk, options)));
}

TEST(Titans, EqualsItsDefinitionForAwkwardShapesAndLayouts) {
    std::uint64_t seed = 0;
    for (const std::int64_t T : {1, 2, 3, 64, 65, 150})
        for (const std::int64_t chunk : {1, 2, 64, 70, 128, 1000}) {
            Random random(++seed);
            const TitansShape s{random.integer(1, 3), T, random.pick<std::int64_t>({2, 7, 16, 33}),
                                random.pick<std::int64_t>({1, 8, 15, 40}), random.pick<std::int64_t>({0, 5, 24, 50})};
            expect_definition(Case(s, chunked(chunk, all_options()[seed % 3]), random.chance(0.5), seed,
                                   random.chance(0.5) ? Order::head_token : Order::token_head,
                                   random.pick<std::int64_t>({0, 3})));
        }
}

TEST(Titans, EqualsItsDefinitionWhereLayersAreNarrowOrWide) {
    for (const std::int64_t E : {0, 1}) expect_definition(Case({2, 5, 1, 1, E}, chunked(2)));
    expect_definition(Case({1, 70, 64, 64, 300}, chunked(64, all_options()[6])));
    expect_definition(Case({1, 3, 130, 70, 270}, chunked(1)));
}

/// α = 1, η = 0, θ = 0: quotients of products of these would be 0 / 0.
TEST(Titans, GatesMayBeAtTheirEnds) {
    for (const std::int64_t chunk : {1, 8})
        for (const float end : {0.f, 1.f}) {
            Case c({2, 30, 8, 9, 11}, chunked(chunk));
            for (const std::int64_t t : {3, 4, 17}) c.x.alpha.row(0, t)[0] = c.x.eta.row(1, t)[0] = end;
            c.x.theta.row(0, 5)[0] = 0;
            expect_definition(c);
        }
}

TEST(Titans, CutBetweenChunksGivesTheSame) {
    for (const std::int64_t chunk : {1, 8})
        for (const std::int64_t E : {0, 13}) {
            const Case c({2, 40, 9, 12, E}, chunked(chunk));
            on_every_isa([&](Context& context) {
                const Result whole = run(c, context);
                for (const std::vector<std::int64_t>& cuts : {std::vector<std::int64_t>{8}, {24, 32}, {16, 24, 32}}) {
                    const Result parts = run(c, context, cuts);
                    EXPECT_LE(distance(rows_of(parts.o), rows_of(whole.o)), 1e-5) << c.words();
                    for (std::size_t i = 0; i < parts_of(whole.state).size(); ++i)
                        EXPECT_LE(distance(*parts_of(parts.state)[i], *parts_of(whole.state)[i]), 1e-5) << c.words();
                }
            });
        }
}

TEST(Titans, LaterTokensChangeNothingToTheBit) {
    for (const std::int64_t chunk : {1, 16, 100})
        for (const std::int64_t t : {20, 39})
            for (const float number : {nan, std::numeric_limits<float>::infinity(), 3.f}) {
                const Case c({1, 40, 9, 12, 13}, chunked(chunk)), later({1, 40, 9, 12, 13}, chunked(chunk));
                for (const Tensor<float>* x :
                     {&later.x.q, &later.x.k, &later.x.v, &later.x.theta, &later.x.alpha, &later.x.eta})
                    std::fill_n(x->row(0, t), x->view().dim, number);
                on_every_isa([&](Context& context) {
                    const Result before = run(c, context), after = run(later, context);
                    for (std::int64_t i = 0; i < t; ++i)
                        EXPECT_TRUE(equal_bits(before.o.row(0, i), after.o.row(0, i), 12))
                            << c.words() << ", token " << i;
                });
            }
}

TEST(Titans, NanIsWhereTheDefinitionHasIt) {
    for (const std::int64_t chunk : {1, 16})
        for (const std::int64_t E : {0, 13})
            for (std::size_t input = 0; input < 6; ++input) {
                const Case c({2, 40, 9, 12, E}, chunked(chunk));
                const Tensor<float>* const all[] = {&c.x.q, &c.x.k, &c.x.v, &c.x.theta, &c.x.alpha, &c.x.eta};
                all[input]->row(1, 20)[all[input]->view().dim - 1] = nan;
                SCOPED_TRACE("NaN in input " + std::to_string(input));
                expect_definition(c);
            }
}

TEST(Titans, ThreadsAndLayoutsChangeNoBit) {
    attenta::ThreadPool two(2), five(5);
    for (const std::int64_t chunk : {1, 16, 100})
        for (const std::int64_t E : {0, 300})
            for (const std::int64_t H : {2, 6}) {
                const Case c({H, 40, 9, 290, E}, chunked(chunk)),
                    other({H, 40, 9, 290, E}, chunked(chunk), true, 1, Order::token_head, 3);
                Context serial;
                const Result want = run(c, serial);
                for (attenta::Executor* executor :
                     {static_cast<attenta::Executor*>(&two), static_cast<attenta::Executor*>(&five)}) {
                    Context context(*executor);
                    for (const Case* same : {&c, &other}) {
                        const Result got = run(*same, context);
                        EXPECT_EQ(rows_of(got.o), rows_of(want.o)) << c.words();
                        EXPECT_TRUE(equal_bits(got.state, want.state)) << c.words();
                    }
                }
            }
}

/// Nothing is written by a call that is refused.
template <class Spoil>
testing::AssertionResult refused(std::initializer_list<std::string_view> words, Spoil&& spoil, std::int64_t E = 0) {
    Case c({2, 6, 8, 12, E}, {});
    TitansInputs x = c.x.view(0, 6);
    Tensor<float> memory(2, 6, 12);
    Out o = memory.view();
    TitansState state = c.past;
    spoil(x, o, state, c.options);
    const std::vector<float> before = memory.memory();
    const TitansState past = state;
    const auto call = [&] { attenta::titans(x, o, state, c.options); };
    testing::AssertionResult result = refuses(call, {"titans"});
    if (result) result = refuses(call, words);
    if (!result) return result;
    if (!equal_bits(before, memory.memory())) return testing::AssertionFailure() << "o was written";
    return equal_bits(state, past);
}

TEST(TitansErrors, Inputs) {
    const std::pair<const char*, View TitansInputs::*> inputs[] = {
        {"q", &TitansInputs::q},         {"k", &TitansInputs::k},         {"v", &TitansInputs::v},
        {"theta", &TitansInputs::theta}, {"alpha", &TitansInputs::alpha}, {"eta", &TitansInputs::eta}};
    for (const auto& [name, member] : inputs) {
        SCOPED_TRACE(name);
        const auto spoiled = [&, member = member](std::initializer_list<std::string_view> words, auto&& change) {
            return refused(words, [&](TitansInputs& x, Out&, TitansState&, TitansOptions&) { change(x.*member); });
        };
        EXPECT_TRUE(spoiled({name, "null"}, [](View& v) { v.data = nullptr; }));
        EXPECT_TRUE(spoiled({"5", "6"}, [](View& v) { v.tokens = 5; }));
        EXPECT_TRUE(spoiled({"3", "2"}, [](View& v) { v.heads = 3; }));
        EXPECT_TRUE(spoiled({name, "strides"}, [](View& v) { v.head_stride = std::int64_t{1} << 62; }));
        EXPECT_TRUE(spoiled({"memory"}, [](View& v) { v.dim = std::int64_t{1} << 62; }));
        EXPECT_TRUE(refused({name, "o overlaps"}, [&, member = member](TitansInputs& x, Out& o, TitansState&,
                                                                       TitansOptions&) { (x.*member).data = o.data; }));
        EXPECT_TRUE(
            refused({name, "nan"}, [&, member = member](TitansInputs& x, Out&, TitansState&, TitansOptions& options) {
                options.check_data = true;
                const_cast<float*>((x.*member).row(1, 5))[0] = nan;
            }));
    }
    EXPECT_TRUE(
        refused({"alpha", "1.500000", "0 to 1"}, [](TitansInputs& x, Out&, TitansState&, TitansOptions& options) {
            options.check_data = true;
            const_cast<float*>(x.alpha.row(1, 5))[0] = 1.5f;
        }));
    EXPECT_TRUE(
        refused({"theta", "-0.500000", "at least 0"}, [](TitansInputs& x, Out&, TitansState&, TitansOptions& options) {
            options.check_data = true;
            const_cast<float*>(x.theta.row(1, 5))[0] = -0.5f;
        }));
    EXPECT_TRUE(refused({"needs sizes of at least 1"}, [](TitansInputs& x, Out& o, TitansState&, TitansOptions&) {
        for (View* v : {&x.q, &x.k, &x.v, &x.theta, &x.alpha, &x.eta}) v->tokens = 0;
        o.tokens = 0;
    }));
}

TEST(TitansErrors, OptionsAndOutputs) {
    const auto option = [](std::initializer_list<std::string_view> words, auto&& change) {
        return refused(words, [&](TitansInputs&, Out&, TitansState&, TitansOptions& options) { change(options); });
    };
    EXPECT_TRUE(option({"chunk", "0", "at least 1"}, [](TitansOptions& x) { x.chunk = 0; }));
    EXPECT_TRUE(
        option({"loss_scale", "inf"}, [](TitansOptions& x) { x.loss_scale = std::numeric_limits<float>::infinity(); }));
    EXPECT_TRUE(option({"norm_eps", "-1"}, [](TitansOptions& x) { x.norm_eps = -1; }));
    EXPECT_TRUE(option({"eps", "nan"}, [](TitansOptions& x) { x.eps = nan; }));
    EXPECT_TRUE(option({"residual", "8", "12"}, [](TitansOptions& x) { x.residual = true; }));
    const auto output = [](std::initializer_list<std::string_view> words, auto&& change) {
        return refused(words, [&](TitansInputs&, Out& o, TitansState&, TitansOptions&) { change(o); });
    };
    EXPECT_TRUE(output({"o", "null"}, [](Out& o) { o.data = nullptr; }));
    EXPECT_TRUE(output({"o", "11", "12"}, [](Out& o) { o.dim = 11; }));
    EXPECT_TRUE(output({"o", "4", "overlap"}, [](Out& o) { o.token_stride = 4; }));
}

TEST(TitansErrors, States) {
    const auto state = [](std::initializer_list<std::string_view> words, std::int64_t E, auto&& change) {
        return refused(
            words, [&](TitansInputs&, Out&, TitansState& s, TitansOptions&) { change(s); }, E);
    };
    EXPECT_TRUE(state({"state", "3", "2"}, 0, [](TitansState& s) { s.first.weights = LinearState(3, 8, 12); }));
    EXPECT_TRUE(state({"momentum", "7", "8"}, 0, [](TitansState& s) { s.first.momentum = LinearState(2, 7, 12); }));
    EXPECT_TRUE(state({"state_w1", "9", "10"}, 10, [](TitansState& s) { s.first.weights = LinearState(2, 8, 9); }));
    EXPECT_TRUE(state({"state_w2", "13", "12"}, 10, [](TitansState& s) { s.second.weights = LinearState(2, 10, 13); }));
    EXPECT_TRUE(
        state({"momentum_w2", "11", "12"}, 10, [](TitansState& s) { s.second.momentum = LinearState(2, 10, 11); }));
    EXPECT_TRUE(state({"state_w1", "empty"}, 10, [](TitansState& s) { s.first.weights = {}; }));
    EXPECT_TRUE(state({"momentum_w2", "state_w2"}, 10, [](TitansState& s) { s.second.weights = {}; }));
    EXPECT_TRUE(state({"state_w2", "elements"}, 10, [](TitansState& s) { s.second.weights.matrix.pop_back(); }));
    EXPECT_TRUE(refused(
        {"momentum_w1", "nan"},
        [](TitansInputs&, Out&, TitansState& s, TitansOptions& options) {
            options.check_data = true;
            s.first.momentum.matrix.back() = nan;
        },
        10));
    EXPECT_TRUE(refused({"state overlaps o"}, [](TitansInputs&, Out& o, TitansState& s, TitansOptions&) {
        o.data = s.first.weights.matrix.data();
    }));
}

}  // namespace
}  // namespace attenta_test
