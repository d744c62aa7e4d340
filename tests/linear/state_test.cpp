// The state of a linear attention is a value: copies and saved copies go on as the original does.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>
#include <vector>

#include "linear/support/compare.hpp"
#include "linear/support/suite.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

class LinearStates : public LinearSuite {};
ATTENTA_LINEAR_SUITE(LinearStates);

std::vector<std::byte> saved(const LinearState& state) {
    std::vector<std::byte> bytes(state.saved_bytes());
    state.save(bytes);
    return bytes;
}

TEST_P(LinearStates, ACopyAndASavedCopyGoOnToTheBit) {
    const auto expect_same = [](const LinearCase& c, Context& context) {
        const LinearState past = attend(c, 0, 40, {}, context).state, copy = past,
                          loaded = LinearState::load(saved(past));
        EXPECT_TRUE(equal_bits(loaded, past)) << describe(c);
        for (const std::int64_t count : {1, 30}) {
            const LinearOutput want = attend(c, 40, count, past, context);
            EXPECT_TRUE(equal_bits(attend(c, 40, count, copy, context), want)) << describe(c);
            EXPECT_TRUE(equal_bits(attend(c, 40, count, loaded, context), want)) << describe(c);
        }
    };
    on_every_isa([&](Context& context) {
        for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
            LinearCase c = linear_case(*GetParam(), {4, 2, 2, 70, 24, 9}, Gates::mild, variant);
            if (c.mechanism->fix_length) c.mechanism->fix_length(c);
            if (!c.shape.Tq) expect_same(c, context);
        }
    });
}

/// Zeros are what an empty state becomes.
TEST_P(LinearStates, ZerosAreNoPast) {
    const auto expect_same = [](const LinearCase& c, Context& context) {
        const LinearOutput want = attend(c, context);
        LinearCase zeros = c.copy();
        zeros.past = want.state;
        for (std::vector<float>* x : {&zeros.past.matrix, &zeros.past.normalizer, &zeros.past.weight})
            std::fill(x->begin(), x->end(), 0.0f);
        if (c.mechanism->name == std::string_view("mlstm"))  // whose stabiliser starts at 0, others' at any
            std::fill(zeros.past.key_max.begin(), zeros.past.key_max.end(), 0.0f);
        EXPECT_TRUE(equal_bits(attend(zeros, context), want)) << describe(c);
    };
    on_every_isa([&](Context& context) {
        for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
            for (const std::int64_t T : {1, 70})
                expect_same(linear_case(*GetParam(), {4, 2, 2, T, 24, 9}, Gates::mild, variant), context);
    });
}

/// The result of a call that reads memory which was used before, of other shapes.
TEST_P(LinearStates, NothingIsLeftInTheWorkspace) {
    Context used;
    attend(linear_case(*GetParam(), {4, 4, 4, 90, 64, 64}, Gates::closed), used);
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
        const LinearCase c = linear_case(*GetParam(), {4, 2, 2, 37, 24, 9}, Gates::mild, variant, true);
        Context fresh;
        EXPECT_TRUE(equal_bits(attend(c, used), attend(c, fresh))) << describe(c);
    }
}

/// The caller's allocator has no memory: for the first call, and for a longer one later.
TEST_P(LinearStates, AnAllocatorThatThrowsLeavesStateAndOutputs) {
    const auto expect_unchanged = [](const LinearCase& c, Context& context) {
        LinearOutput out{Tensor<float>(c.output_heads(), c.queries(), c.shape.Dv), c.past};
        const LinearOutput before{Tensor<float>(c.output_heads(), c.queries(), c.shape.Dv), c.past};
        EXPECT_THROW(call(c, c.views(), c.options, out.o.view(), out.state, context), std::bad_alloc) << describe(c);
        EXPECT_TRUE(equal_bits(out, before)) << describe(c);
    };
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const bool past : {false, true}) {
            bool exhausted = true;
            attenta::SerialExecutor serial;
            Context context(serial, {[&](std::size_t bytes) -> void* {
                                         if (exhausted) throw std::bad_alloc();
                                         return ::operator new (bytes, std::align_val_t{64});
                                     },
                                     [](void* p, std::size_t) { ::operator delete (p, std::align_val_t{64}); }});
            expect_unchanged(linear_case(*GetParam(), {4, 2, 2, 40, 24, 9}, Gates::mild, variant, past), context);
            exhausted = false;
            attend(linear_case(*GetParam(), {4, 2, 2, 1, 24, 9}, Gates::mild, variant, past), context);
            exhausted = true;
            const std::int64_t width = GetParam()->most_dim < 1024 ? 7000 : 700;  // beyond the first call's memory
            const LinearShape wide = {
                4, 2, 2, GetParam()->wide_tokens, GetParam()->wide_dim, GetParam()->wide_dim > 1024 ? 24 : width};
            expect_unchanged(linear_case(*GetParam(), wide, Gates::mild, variant, past), context);
        }
}

LinearState filled() {
    LinearState state(3, 5, 7);
    Random random(1);
    state.matrix = random.normals(3 * 5 * 7), state.normalizer = random.normals(3 * 5);
    state.weight = random.normals(3), state.key_max = random.normals(3);
    return state;
}

TEST(LinearStateTest, StartsEmptyOrAsZeros) {
    EXPECT_TRUE(LinearState().empty());
    const LinearState zeros(2, 3, 4);
    EXPECT_FALSE(zeros.empty());
    EXPECT_EQ(zeros.matrix, std::vector<float>(24));
    EXPECT_EQ(zeros.of(1), zeros.matrix.data() + 12);
}

TEST(LinearStateTest, IsLoadedAsItWasSaved) {
    const LinearState state = filled();
    EXPECT_TRUE(equal_bits(LinearState::load(saved(state)), state));
    EXPECT_TRUE(equal_bits(LinearState::load(saved(LinearState(2, 3, 4))), LinearState(2, 3, 4)));
    EXPECT_TRUE(LinearState::load(saved(LinearState())).empty());
}

TEST(LinearStateTest, RefusesToLoadWhatWasNotSaved) {
    const std::vector<std::byte> good = saved(filled());
    for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{8}, good.size() / 2, good.size() - 1})
        EXPECT_THROW(LinearState::load({good.data(), n}), attenta::Error) << n << " bytes";
    std::vector<std::byte> longer = good;
    longer.push_back(std::byte{0});
    EXPECT_THROW(LinearState::load(longer), attenta::Error);
    EXPECT_THROW(LinearState::load(std::vector<std::byte>(good.size(), std::byte{0xff})), attenta::Error);
}

/// A spoiled byte is refused or read as a state whose arrays fit its sizes, never followed out of bounds.
TEST(LinearStateTest, ASpoiledSizeIsNotFollowed) {
    const std::vector<std::byte> good = saved(filled());
    for (std::size_t at = 0; at < good.size(); ++at)
        for (const unsigned spoil : {0x01u, 0x80u, 0xffu}) {
            std::vector<std::byte> bytes = good;
            bytes[at] ^= static_cast<std::byte>(spoil);
            try {
                const LinearState s = LinearState::load(bytes);
                EXPECT_EQ(static_cast<std::int64_t>(s.matrix.size()), s.heads * s.dim * s.dim_v) << "byte " << at;
            } catch (const attenta::Error&) {
            }
        }
}

TEST(LinearStateTest, RefusesToSaveIntoTooLittle) {
    const LinearState state = filled();
    std::vector<std::byte> bytes(state.saved_bytes() - 1);
    EXPECT_THROW(state.save(bytes), attenta::Error);
}

}  // namespace
}  // namespace attenta_test
