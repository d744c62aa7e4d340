// A good call of a linear attention, to spoil one thing of it.
#pragma once

#include <attenta/core/context.hpp>

#include <gtest/gtest.h>

#include <any>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "compare.hpp"
#include "support/errors.hpp"

namespace attenta_test {

using Words = std::initializer_list<std::string_view>;

/// A good call of 6 tokens, D 16, Dv 24; 4 query heads and 2 state heads, where they are free, 4 heads and 2 groups in
/// mamba2, else 2 heads. Tests spoil one thing.
struct Call {
    explicit Call(const LinearMechanism& m, std::size_t variant = 0, bool past = false)
        : c(linear_case(m, {4, 2, m.grouping == Grouping::state ? 4 : 2, 6, 16, 24}, Gates::mild, variant, past)) {}

    LinearCase c;
    LinearViews x = c.views();
    Tensor<float> memory{c.output_heads(), c.queries(), 24};
    Out o = memory.view();
    LinearState state = c.past;

    template <class Options>
    Options& options() {
        return std::any_cast<Options&>(c.options);
    }
    void run() { call(c, x, c.options, o, state, attenta::default_context()); }
};

template <class Spoil>
testing::AssertionResult refused(Call call, Words words, Spoil&& spoil) {
    spoil(call);
    const std::vector<float> o = call.memory.memory();
    const LinearState state = call.state;
    testing::AssertionResult result = refuses([&] { call.run(); }, words);
    if (!result) return result;
    if (!equal_bits(o, call.memory.memory())) return testing::AssertionFailure() << "o was written";
    if (!equal_bits(state, call.state)) return testing::AssertionFailure() << "the state was written";
    return result;
}

/// ... where `spoil` changes the state.
template <class Spoil>
testing::AssertionResult refused_state(Call call, Words words, Spoil&& spoil) {
    return refused(std::move(call), words, [&](Call& c) { spoil(c.state); });
}

/// refused({"k", "15", "16"}, spoil): the mechanism's own errors.
class OwnErrors {
public:
    explicit OwnErrors(const LinearMechanism& m) : m_(m) {}
    template <class Spoil>
    testing::AssertionResult refused(Words words, Spoil&& spoil, std::size_t variant = 0) const {
        testing::AssertionResult result = attenta_test::refused(Call(m_, variant), {m_.name}, spoil);
        return result ? attenta_test::refused(Call(m_, variant), words, spoil) : result;
    }

private:
    const LinearMechanism& m_;
};

/// Of mechanisms whose q, k and v may each have heads of their own.
inline void expect_errors_of_free_heads(const LinearMechanism& m) {
    const OwnErrors errors(m);
    EXPECT_TRUE(errors.refused({"3", "2"}, [](Call& c) { c.x.at("q").heads = c.o.heads = 3; }));
    EXPECT_TRUE(errors.refused({"3"}, [](Call& c) { c.x.at("v").heads = 3; }));
    EXPECT_TRUE(errors.refused({"3"}, [](Call& c) { c.x.at("k").heads = 3; }));
    EXPECT_TRUE(errors.refused({"15", "16"}, [](Call& c) { c.x.at("k").dim = 15; }));
    EXPECT_TRUE(errors.refused({"15", "16"}, [](Call& c) { c.x.at("q").dim = 15; }));
    EXPECT_TRUE(errors.refused({"23", "24"}, [](Call& c) { c.x.at("v").dim = 23; }));
}

}  // namespace attenta_test
