// Bad input of linear attentions is refused before anything is written, with a message that names the function, the
// argument, what came and what was expected: what all of them refuse.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "linear/support/spoiled.hpp"
#include "linear/support/suite.hpp"

namespace attenta_test {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

class LinearErrors : public LinearSuite {};
ATTENTA_LINEAR_SUITE(LinearErrors);

TEST_P(LinearErrors, TheCallThatIsSpoiledIsGood) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const bool past : {false, true}) {
            Call call(*GetParam(), variant, past);
            EXPECT_NO_THROW(call.run()) << describe(call.c);
        }
}

TEST_P(LinearErrors, NoTokens) {
    EXPECT_TRUE(refused(Call(*GetParam()), {GetParam()->name, "0"}, [](Call& c) {
        for (const auto& [name, x] : c.c.inputs)
            if (x.along != Along::nothing) c.x.at(name).tokens = 0;
        c.o.tokens = 0;
    }));
}

TEST_P(LinearErrors, NoWidth) {
    const auto narrow = [](std::int64_t width) {
        return [width](Call& c) {
            for (const auto& [name, x] : c.c.inputs)
                if (x.tensor.view().dim == width) c.x.at(name).dim = 0;
            if (width == 24) c.o.dim = 0;
        };
    };
    EXPECT_TRUE(refused(Call(*GetParam()), {GetParam()->name, "0"}, narrow(16)));
    EXPECT_TRUE(refused(Call(*GetParam()), {GetParam()->name, "0"}, narrow(24)));
}

TEST_P(LinearErrors, NoHeads) {
    EXPECT_TRUE(refused(Call(*GetParam()), {GetParam()->name, "0"}, [](Call& c) {
        for (const auto& [name, x] : c.c.inputs) c.x.at(name).heads = 0;
        c.o.heads = 0;
    }));
}

/// Lengths that differ: the message may name either of the two.
TEST_P(LinearErrors, TokensThatDiffer) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
        const Call good(*GetParam(), variant);
        if (good.c.shape.Tq) continue;
        for (const auto& [name, x] : good.c.inputs) {
            if (x.along == Along::nothing) continue;
            const bool first = name == "q" || name == "k" || name == "x";
            EXPECT_TRUE(refused(Call(*GetParam(), variant), {GetParam()->name, "5", "6", first ? "5" : name},
                                [&, &name = name](Call& c) { c.x.at(name).tokens = 5; }))
                << describe(good.c) << ", " << name;
        }
    }
}

/// Sizes that no letter of the list has: another number of heads, a narrower row, tokens where there are none.
TEST_P(LinearErrors, SizesThatDiffer) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
        const Call good(*GetParam(), variant);
        for (const auto& [name, x] : good.c.inputs) {
            SCOPED_TRACE(describe(good.c) + ", " + name);
            const View v = x.tensor.view();
            const auto spoiled = [&](Words words, auto spoil) {
                return refused(Call(*GetParam(), variant), words, spoil);
            };
            if (v.dim > 1 && name != GetParam()->free_width) {
                EXPECT_TRUE(spoiled({GetParam()->name, std::to_string(v.dim - 1), std::to_string(v.dim)},
                                    [&, &name = name](Call& c) { --c.x.at(name).dim; }));
            }
            if (v.heads == 1) continue;
            EXPECT_TRUE(spoiled({GetParam()->name, "3"}, [&, &name = name](Call& c) { c.x.at(name).heads = 3; }));
            if (x.along == Along::nothing && v.tokens == 1) {
                EXPECT_TRUE(
                    spoiled({GetParam()->name, name, "5"}, [&, &name = name](Call& c) { c.x.at(name).tokens = 5; }));
            }
        }
    }
}

/// o has as many rows as q: nothing but their number is wrong.
TEST_P(LinearErrors, FewerOrMoreQueriesThanTokens) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const std::int64_t queries : {1, 5, 7}) {
            const Call good(*GetParam(), variant);
            const char* const q = good.x["q"].data ? "q" : "C";
            if (GetParam()->has_history) continue;
            EXPECT_TRUE(refused(Call(*GetParam(), variant), {GetParam()->name, std::to_string(queries), "6"},
                                [&](Call& c) { c.x.at(q).tokens = c.o.tokens = queries; }))
                << describe(good.c);
        }
}

/// Sizes and strides that no memory has: their sums and products would not be numbers.
TEST_P(LinearErrors, SizesBeyondMemory) {
    const std::int64_t huge = std::int64_t{1} << 62;
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
        const auto spoiled = [&](const std::string& name, auto spoil) {
            return refused(Call(*GetParam(), variant), {GetParam()->name, name}, spoil);
        };
        for (const auto& [name, x] : Call(*GetParam(), variant).c.inputs) {
            const bool array = x.along == Along::nothing && x.tensor.view().heads == 1;
            if (array) continue;
            SCOPED_TRACE(describe(Call(*GetParam(), variant).c) + ", " + name);
            for (const std::int64_t stride : {huge, -huge, std::int64_t{-1}}) {
                EXPECT_TRUE(spoiled(name, [&, &name = name](Call& c) { c.x.at(name).head_stride = stride; }));
                if (x.along == Along::nothing) continue;
                EXPECT_TRUE(spoiled(name, [&, &name = name](Call& c) { c.x.at(name).token_stride = stride; }));
            }
        }
        for (const std::int64_t stride : {huge, -huge}) {
            EXPECT_TRUE(spoiled("o", [&](Call& c) { c.o.head_stride = stride; }));
            EXPECT_TRUE(spoiled("o", [&](Call& c) { c.o.token_stride = stride; }));
        }
        EXPECT_TRUE(refused(Call(*GetParam(), variant), {GetParam()->name}, [&](Call& c) {
            for (const auto& [name, x] : c.c.inputs)
                if (x.along != Along::nothing) c.x.at(name).tokens = huge, c.x.at(name).token_stride = 0;
            c.o.tokens = huge;
        }));
        EXPECT_TRUE(refused(Call(*GetParam(), variant), {GetParam()->name}, [&](Call& c) {
            for (const auto& [name, x] : c.c.inputs) c.x.at(name).heads = huge, c.x.at(name).head_stride = 0;
            c.o.heads = huge;
        }));
        for (const std::int64_t width : {16, 24})
            EXPECT_TRUE(refused(Call(*GetParam(), variant), {GetParam()->name}, [&](Call& c) {
                for (const auto& [name, x] : c.c.inputs)
                    if (x.tensor.view().dim == width) c.x.at(name).dim = huge;
                if (width == 24) c.o.dim = huge;
            }));
    }
}

TEST_P(LinearErrors, Outputs) {
    const char* name = GetParam()->name;
    const std::string heads = std::to_string(Call(*GetParam()).o.heads);
    const auto spoiled = [&](Words words, auto spoil) { return refused(Call(*GetParam()), words, spoil); };
    EXPECT_TRUE(spoiled({name, "o", "3", heads}, [](Call& c) { c.o.heads = 3; }));
    EXPECT_TRUE(spoiled({name, "o", "5", "6"}, [](Call& c) { c.o.tokens = 5; }));
    EXPECT_TRUE(spoiled({name, "o", "23", "24"}, [](Call& c) { c.o.dim = 23; }));
    EXPECT_TRUE(spoiled({name, "o", "null"}, [](Call& c) { c.o.data = nullptr; }));
    EXPECT_TRUE(spoiled({name, "o", "10", "24"}, [](Call& c) { c.o.token_stride = 10; }));
    EXPECT_TRUE(spoiled({name, "o", "0"}, [](Call& c) { c.o.head_stride = 0; }));
    EXPECT_TRUE(spoiled({name, "o", "120"}, [](Call& c) { c.o.head_stride = 120; }));
}

/// The input at the begin of `room`, o from its last number on.
void lay_over(Call& call, const std::string& name, std::vector<float>& room) {
    View& v = call.x.at(name);
    const std::int64_t n = v.row(v.heads - 1, v.tokens - 1) - v.data + v.dim;
    room.assign(v.data, v.data + n);
    room.resize(static_cast<std::size_t>(n) + call.memory.memory().size());
    v.data = room.data();
    call.o.data = room.data() + n - 1;
}

TEST_P(LinearErrors, OutputsOverInputs) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
        const Call good(*GetParam(), variant);
        std::vector<float> room;
        for (const auto& [name, x] : good.c.inputs)
            EXPECT_TRUE(refused(Call(*GetParam(), variant), {GetParam()->name, "o", name},
                                [&, &name = name](Call& c) { lay_over(c, name, room); }))
                << describe(good.c) << ", o over " << name;
    }
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const auto member :
             {&LinearState::matrix, &LinearState::normalizer, &LinearState::weight, &LinearState::key_max})
            if (!(Call(*GetParam(), variant, true).state.*member).empty()) {
                EXPECT_TRUE(refused(Call(*GetParam(), variant, true), {GetParam()->name, "o", "state"},
                                    [&](Call& c) { c.o.data = (c.state.*member).data(); }));
            }
}

TEST_P(LinearErrors, NullPointers) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
        const Call good(*GetParam(), variant);
        for (const auto& [name, x] : good.c.inputs) {
            const bool array = x.along == Along::nothing && x.tensor.view().heads == 1 && name != "projection";
            if (array || GetParam()->is_optional(name)) continue;
            EXPECT_TRUE(refused(Call(*GetParam(), variant), {GetParam()->name, name, "null"},
                                [&, &name = name](Call& c) { c.x.at(name).data = nullptr; }))
                << describe(good.c);
        }
    }
}

TEST_P(LinearErrors, StatesOfOtherShapes) {
    const auto spoiled = [&](Words words, auto spoil) {
        return refused_state(Call(*GetParam(), 0, true), words, spoil);
    };
    const char* name = GetParam()->name;
    const LinearState good = Call(*GetParam(), 0, true).state;
    const std::string heads = std::to_string(good.heads), dim = std::to_string(good.dim);
    EXPECT_TRUE(spoiled({name, "state", "3", heads}, [](LinearState& s) { s = LinearState(3, s.dim, s.dim_v); }));
    EXPECT_TRUE(spoiled({name, "state", "15", dim}, [](LinearState& s) { s = LinearState(s.heads, 15, s.dim_v); }));
    EXPECT_TRUE(spoiled({name, "state", "25", "24"}, [](LinearState& s) { s = LinearState(s.heads, s.dim, 25); }));
    EXPECT_TRUE(spoiled({name, "state"}, [](LinearState& s) { s.matrix.pop_back(); }));
    EXPECT_TRUE(spoiled({name, "state"}, [](LinearState& s) { s.matrix.push_back(0); }));
    EXPECT_TRUE(spoiled({name, "state"}, [](LinearState& s) { std::swap(s.dim, s.dim_v); }));
}

/// Normalizer, weight, key_max: those that the mechanism has, missing or of another size.
TEST_P(LinearErrors, StatesWithoutTheirCompanions) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
        const Call good(*GetParam(), variant, true);
        const auto spoiled = [&](const char* companion, auto member) {
            if ((good.state.*member).empty()) return;
            const auto call = [&] { return Call(*GetParam(), variant, true); };
            // A given key_max may stand for the one of the state.
            if (std::string_view(companion) == "key_max" && good.x[companion].data) return;
            if (!GetParam()->divides || GetParam()->divides(good.c)) {
                EXPECT_TRUE(refused_state(call(), {GetParam()->name, companion}, [&](LinearState& s) {
                    (s.*member).clear();
                })) << describe(good.c);
            }
            EXPECT_TRUE(refused_state(call(), {GetParam()->name, companion}, [&](LinearState& s) {
                (s.*member).push_back(1);
            })) << describe(good.c);
        };
        spoiled("normalizer", &LinearState::normalizer);
        spoiled("weight", &LinearState::weight);
        spoiled("key_max", &LinearState::key_max);
    }
}

TEST_P(LinearErrors, ScalesThatAreNotFinite) {
    for (const float scale : {nan, infinity, -infinity}) {
        Call good(*GetParam());
        if (!GetParam()->set_scale(good.c.options, scale)) continue;
        EXPECT_TRUE(refused(Call(*GetParam()), {GetParam()->name, "scale"},
                            [&](Call& c) { GetParam()->set_scale(c.c.options, scale); }));
    }
}

void check_data(Call& call) { call.c.mechanism->check_data(call.c.options); }

float* last_of(Call& call, const std::string& name) {
    const View v = call.x[name];
    return const_cast<float*>(v.row(v.heads - 1, v.tokens - 1)) + v.dim - 1;
}

TEST_P(LinearErrors, CheckDataAcceptsGoodData) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const Gates gates : {Gates::mild, Gates::closed, Gates::zero}) {
            LinearCase c = linear_case(*GetParam(), {4, 2, 2, 60, 16, 24}, gates, variant, true);
            Context context;
            const LinearOutput want = attend(c, context);
            GetParam()->check_data(c.options);
            EXPECT_TRUE(equal_bits(attend(c, context), want)) << describe(c);
        }
}

TEST_P(LinearErrors, NanIsRefusedWhereDataIsCheckedAndElseNotLookedAt) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
        const Call good(*GetParam(), variant);
        for (const auto& [name, x] : good.c.inputs) {
            EXPECT_TRUE(refused(Call(*GetParam(), variant), {GetParam()->name, name},
                                [&, &name = name](Call& c) { check_data(c), *last_of(c, name) = nan; }))
                << describe(good.c) << ", NaN in " << name;
            Call unchecked(*GetParam(), variant);
            *last_of(unchecked, name) = nan;
            EXPECT_NO_THROW(unchecked.run()) << describe(good.c) << ", NaN in " << name;
        }
    }
}

TEST_P(LinearErrors, NanInTheStateIsRefusedWhereDataIsChecked) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const auto member :
             {&LinearState::matrix, &LinearState::normalizer, &LinearState::weight, &LinearState::key_max}) {
            const Call good(*GetParam(), variant, true);
            if ((good.state.*member).empty()) continue;
            EXPECT_TRUE(refused(Call(*GetParam(), variant, true), {GetParam()->name, "state"}, [&](Call& c) {
                check_data(c), (c.state.*member).back() = nan;
            })) << describe(good.c);
            Call unchecked(*GetParam(), variant, true);
            (unchecked.state.*member).back() = nan;
            EXPECT_NO_THROW(unchecked.run()) << describe(good.c);
        }
}

TEST_P(LinearErrors, GrowthIsRefusedWhereDataIsCheckedAndElseNotLookedAt) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
        const Call good(*GetParam(), variant);
        for (const auto& [name, x] : good.c.inputs) {
            if (name != "g" && name != "gv" && name != "A") continue;
            EXPECT_TRUE(refused(Call(*GetParam(), variant), {GetParam()->name, name},
                                [&, &name = name](Call& c) { check_data(c), *last_of(c, name) = 0.25f; }))
                << describe(good.c) << ", growth in " << name;
            if (name == "A") continue;  // one number a head may be looked at in every call
            Call unchecked(*GetParam(), variant);
            *last_of(unchecked, name) = 0.25f;
            EXPECT_NO_THROW(unchecked.run()) << describe(good.c) << ", growth in " << name;
        }
    }
}

}  // namespace
}  // namespace attenta_test
