// States on the way of a call are those of shorter calls, to the bit; going back to one leaves no trace; pools of states.
#include <attenta/core/state_snapshots.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "linear/support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::Dtype;
using attenta::SnapshotOptions;
using attenta::StatePool;
using attenta::StateShape;
using attenta::StateSnapshots;

/// The mechanisms of this program whose states are kept, every variant of theirs: fn(case).
template <class F>
void for_each_rule(const LinearShape& shape, F&& fn) {
    for (const LinearMechanism& m : linear_mechanisms())
        for (std::size_t variant = 0; variant < m.variants.size(); ++variant) {
            const Gates gates = static_cast<Gates>(variant % 3);
            const LinearCase c = linear_case(m, shape, gates, variant, variant % 2 == 1, 9);
            Context context;
            StateSnapshots kept({.every = 1});
            LinearOutput out{Tensor<float>(c.output_heads(), c.queries(), c.shape.Dv, c.order, c.pad), c.past};
            out.state.snapshots = &kept;
            try {
                call(c, c.views(), c.options, out.o.view(), out.state, context);
            } catch (const attenta::Error& e) {
                EXPECT_NE(std::string(e.what()).find("snapshots"), std::string::npos) << e.what();
                EXPECT_TRUE(equal_bits(out.state, c.past)) << describe(c);
                continue;
            }
            fn(c);
        }
}

/// A call that keeps states; `state` is its past.
LinearOutput attend_keeping(const LinearCase& c, StateSnapshots& kept, Context& context) {
    LinearOutput out{Tensor<float>(c.output_heads(), c.queries(), c.shape.Dv, c.order, c.pad), c.past};
    out.state.snapshots = &kept;
    call(c, c.views(), c.options, out.o.view(), out.state, context);
    return out;
}

/// The state behind n tokens as a call on them leaves it; the past where there are none.
LinearState after(const LinearCase& c, std::int64_t n, Context& context) {
    if (n > 0) return attend(c, 0, n, c.past, context).state;
    LinearState state = attend(c, 0, 1, c.past, context).state;
    for (std::vector<float>* x : {&state.matrix, &state.normalizer, &state.key_max})
        std::fill(x->begin(), x->end(), 0.f);
    return c.past.empty() ? state : c.past;
}

void expect_states_of_shorter_calls(const LinearCase& c, SnapshotOptions options, Context& context) {
    const LinearOutput want = attend(c, context);
    StateSnapshots kept(std::move(options));
    EXPECT_TRUE(equal_bits(attend_keeping(c, kept, context), want)) << describe(c) << ", while states are kept";
    EXPECT_FALSE(kept.tokens().empty()) << describe(c);
    for (const std::int64_t n : kept.tokens()) {
        LinearState state;
        kept.rollback(n, state);
        EXPECT_TRUE(equal_bits(state, after(c, n, context))) << describe(c) << ", after " << n;
    }
}

TEST(StateSnapshotsOfCalls, AreThoseOfShorterCallsToTheBit) {
    on_every_isa([](Context& context) {
        for (const std::int64_t T : {1, 3, 4, 5, 7, 32, 33, 37, 70})
            for_each_rule({4, 2, 2, T, 24, 9}, [&](const LinearCase& c) {
                expect_states_of_shorter_calls(c, {.every = 1, .at = {0}}, context);
            });
        for (const std::int64_t T : {1, 4, 70})
            for_each_rule({2, 1, 2, T, 16, 40}, [&](const LinearCase& c) {
                expect_states_of_shorter_calls(c, {.every = 3, .at = {T, 0, 0}, .last = 1}, context);
            });
    });
}

/// Heads in interleaved tasks, and chunks worked on side by side.
TEST(StateSnapshotsOfCalls, AreTheSameForAnyThreadsAndLayout) {
    attenta::ThreadPool two(2), sixteen(16);
    for (attenta::Executor* executor :
         {static_cast<attenta::Executor*>(&two), static_cast<attenta::Executor*>(&sixteen)}) {
        Context context(*executor);
        for (const std::int64_t T : {517, 1024, 1026})
            for_each_rule({2, 2, 2, T, 16, 40}, [&](const LinearCase& c) {
                const SnapshotOptions options{.every = 64, .at = {0, 1, 5, 33, 300, T - 1}, .last = 2};
                expect_states_of_shorter_calls(c, options, context);
                expect_states_of_shorter_calls(c.copy(Order::token_head, 3), options, context);
            });
    }
}

TEST(StateSnapshotsOfCalls, GoingBackLeavesNoTrace) {
    on_every_isa([](Context& context) {
        for_each_rule({4, 2, 2, 41, 24, 9}, [&](const LinearCase& c) {
            StateSnapshots kept({.at = {17}, .last = 4});
            LinearState state = attend_keeping(c, kept, context).state;
            ASSERT_EQ(kept.tokens().size(), 5u) << describe(c);
            for (const std::int64_t n : {39, 17}) {
                kept.rollback(n, state);
                const LinearState past = after(c, n, context);
                EXPECT_TRUE(equal_bits(attend(c, n, 2, state, context), attend(c, n, 2, past, context))) << describe(c);
            }
        });
    });
}

TEST(StateSnapshotsOfCalls, RoundMatricesAlone) {
    on_every_isa([](Context& context) {
        for_each_rule({2, 2, 2, 70, 16, 9}, [&](const LinearCase& c) {
            StateSnapshots exact({.every = 10}), rounded({.every = 10, .storage = Dtype::bf16});
            const LinearOutput want = attend_keeping(c, exact, context), got = attend_keeping(c, rounded, context);
            EXPECT_TRUE(equal_bits(got, want)) << describe(c);
            for (const std::int64_t n : rounded.tokens()) {
                LinearState a, b;
                exact.rollback(n, a), rounded.rollback(n, b);
                for (float& x : a.matrix) x = attenta::bfloat16(x);
                EXPECT_TRUE(equal_bits(b, a)) << describe(c) << ", after " << n;
            }
        });
    });
}

TEST(StateSnapshotsOfCalls, StayWithTheStateTheyWereAttachedTo) {
    StateSnapshots kept({.every = 1});
    LinearState state(1, 2, 3);
    state.snapshots = &kept;
    const LinearState copy = state;
    EXPECT_FALSE(copy.snapshots);
    state = LinearState(1, 2, 3);
    EXPECT_EQ(state.snapshots.get(), &kept);
    const LinearState moved = std::move(state);
    EXPECT_EQ(moved.snapshots.get(), &kept);
}

const LinearMechanism& any_rule() {
    return *std::find_if(linear_mechanisms().begin(), linear_mechanisms().end(),
                         [](const LinearMechanism& m) { return std::string(m.name) == "gated_delta_rule"; });
}

TEST(StateSnapshotsErrors, CallsThatAreTooShortWriteNothing) {
    const LinearCase c = linear_case(any_rule(), {2, 2, 2, 6, 16, 24}, Gates::mild, 0, true);
    const auto refused = [&](SnapshotOptions options, std::initializer_list<std::string_view> words) {
        StateSnapshots kept(std::move(options));
        LinearState state = c.past;
        state.snapshots = &kept;
        Tensor<float> o(2, 6, 24);
        const std::vector<float> before = o.memory();
        const auto result =
            refuses([&] { call(c, c.views(), c.options, o.view(), state, attenta::default_context()); }, words);
        if (!equal_bits(o.memory(), before) || !equal_bits(state, c.past) || !kept.tokens().empty())
            return testing::AssertionFailure() << "something was written";
        return result;
    };
    EXPECT_TRUE(refused({.at = {2, 7}}, {"gated_delta_rule", "snapshots", "at 7", "6"}));
    EXPECT_TRUE(refused({.last = 7}, {"gated_delta_rule", "snapshots", "last 7", "6"}));
}

TEST(StateSnapshotsErrors, OptionsThatAreNone) {
    for (const std::int64_t n : {std::int64_t{0}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::min()}) {
        EXPECT_TRUE(refuses([&] { StateSnapshots({.every = n}); }, {"StateSnapshots", "every", std::to_string(n)}));
        EXPECT_TRUE(refuses([&] { StateSnapshots({.last = n}); }, {"StateSnapshots", "last", std::to_string(n)}));
    }
    EXPECT_TRUE(refuses([] { StateSnapshots({.at = {0, -3}}); }, {"StateSnapshots", "at", "-3"}));
    EXPECT_TRUE(refuses([] { StateSnapshots({.storage = Dtype::f16}); }, {"StateSnapshots", "storage", "f16"}));
}

TEST(StateSnapshotsErrors, GoingBackToWhatWasNotKeptWritesNothing) {
    const LinearCase c = linear_case(any_rule(), {2, 2, 2, 6, 16, 24}, Gates::mild, 0, true);
    StateSnapshots kept({.last = 3});
    LinearState state = c.past, other(2, 15, 24);
    EXPECT_TRUE(refuses([&] { kept.rollback(4, state); }, {"StateSnapshots", "4"}));  // before any call
    attend_keeping(c, kept, attenta::default_context());
    for (const std::int64_t n : {-1, 0, 3, 7})
        EXPECT_TRUE(refuses([&] { kept.rollback(n, state); }, {"StateSnapshots", std::to_string(n)}));
    EXPECT_TRUE(equal_bits(state, c.past));
    EXPECT_TRUE(refuses([&] { kept.rollback(4, other); }, {"15", "16"}));
    EXPECT_TRUE(equal_bits(other, LinearState(2, 15, 24)));
}

LinearState numbered(float first) {
    LinearState s(2, 3, 4);
    for (std::size_t i = 0; i < s.matrix.size(); ++i) s.matrix[i] = first + static_cast<float>(i);
    s.normalizer.assign(6, first), s.weight.assign(2, first + 1), s.key_max.assign(2, first + 2);
    return s;
}

TEST(StatePoolTest, GivesBackWhatWasStored) {
    const LinearState a = numbered(1), b = numbered(50);
    for (const Dtype storage : {Dtype::f32, Dtype::bf16}) {  // which has integers below 256
        StatePool pool(5, StateShape::of(a), storage), other(3, StateShape::of(a));
        const LinearState* both[] = {&a, &b};
        pool.store(std::vector<std::int64_t>{4, 1}, both);
        LinearState x, y = b, z;
        LinearState* to[] = {&x, &y, &z};
        pool.load(std::vector<std::int64_t>{1, 4, 1}, to);
        EXPECT_TRUE(equal_bits(x, b));
        EXPECT_TRUE(equal_bits(y, a));
        EXPECT_TRUE(equal_bits(z, b));
        other.copy(pool, std::vector<std::int64_t>{4, 4}, std::vector<std::int64_t>{0, 2});
        other.load(2, x);
        EXPECT_TRUE(equal_bits(x, a));
        pool.copy(pool, std::vector<std::int64_t>{4, 1}, std::vector<std::int64_t>{1, 4});  // exchanged
        pool.load(4, x);
        EXPECT_TRUE(equal_bits(x, b));
        pool.load(1, x);
        EXPECT_TRUE(equal_bits(x, a));
    }
}

TEST(StatePoolErrors, SlotsTwiceOutOfRangeAndOtherShapesWriteNothing) {
    const LinearState a = numbered(1), b = numbered(50), other(2, 3, 5);
    StatePool pool(3, StateShape::of(a));
    pool.store(0, a), pool.store(1, a), pool.store(2, a);
    const auto refused = [&](std::vector<std::int64_t> slots, std::vector<const LinearState*> states,
                             std::initializer_list<std::string_view> words) {
        const auto result = refuses([&] { pool.store(slots, states); }, words);
        for (const std::int64_t slot : {0, 1, 2}) {
            LinearState now;
            pool.load(slot, now);
            if (!equal_bits(now, a)) return testing::AssertionFailure() << "slot " << slot << " was written";
        }
        return result;
    };
    EXPECT_TRUE(refused({1, 3}, {&b, &b}, {"StatePool::store", "slot is 3", "3"}));
    EXPECT_TRUE(refused({0, -1}, {&b, &b}, {"StatePool::store", "slot is -1"}));
    EXPECT_TRUE(refused({1, 0, 1}, {&b, &b, &b}, {"StatePool::store", "slot 1", "twice"}));
    EXPECT_TRUE(refused({0}, {&b, &b}, {"2 states", "1 slots"}));
    EXPECT_TRUE(refused({0, 1}, {&b, nullptr}, {"null"}));
    EXPECT_TRUE(refused({0, 1}, {&b, &other}, {"[2, 3, 5]", "[2, 3, 4]"}));

    LinearState x = b, y = other;
    const auto unread = [&](std::vector<std::int64_t> slots, std::vector<LinearState*> states, auto words) {
        const auto result = refuses([&] { pool.load(slots, states); }, words);
        if (!equal_bits(x, b)) return testing::AssertionFailure() << "a state was written";
        return result;
    };
    using Words = std::initializer_list<std::string_view>;
    EXPECT_TRUE(unread({0, 3}, {&x, &y}, Words{"StatePool::load", "slot is 3"}));
    EXPECT_TRUE(unread({0, 1}, {&x, &x}, Words{"StatePool::load", "twice"}));
    EXPECT_TRUE(unread({0, 1}, {&x, &y}, Words{"StatePool::load", "[2, 3, 5]"}));
    EXPECT_TRUE(refuses([&] { pool.copy(pool, {}, std::vector<std::int64_t>{0}); }, {"StatePool::copy", "slots"}));
    StatePool narrow(3, StateShape::of(other));
    EXPECT_TRUE(refuses([&] { pool.copy(narrow, std::vector<std::int64_t>{0}, std::vector<std::int64_t>{0}); },
                        {"StatePool::copy", "[2, 3, 5]"}));
}

TEST(StatePoolErrors, SizesBeyondMemory) {
    constexpr std::int64_t huge = std::int64_t{1} << 40;
    EXPECT_TRUE(refuses([] { StatePool(-1, {1, 1, 1}); }, {"StatePool", "-1"}));
    EXPECT_TRUE(refuses([] { StatePool(1, {-1, 1, 1}); }, {"StatePool", "-1"}));
    EXPECT_TRUE(refuses([] { StatePool(1, {1, 1, 1, -2}); }, {"StatePool", "-2"}));
    EXPECT_TRUE(refuses([] { StatePool(huge, {huge, 1, 1}); }, {"StatePool", std::to_string(huge)}));
    EXPECT_TRUE(refuses([] { StatePool(1, {1, 1, 1}, Dtype::f16); }, {"StatePool", "f16"}));
}

}  // namespace
}  // namespace attenta_test
