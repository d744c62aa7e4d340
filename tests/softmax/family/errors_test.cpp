// Bad input of attentions is refused before anything is written, with a message that names the function, the argument, what came
// and what was expected: what all of them refuse.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

class AttentionErrors : public AttentionSuite {};
ATTENTA_ATTENTION_SUITE(AttentionErrors);

const Shape shape = {4, 2, 9, 40, 16, 24};

/// `spoil` changes a good call, which is then refused, and nothing is written: spoil(c, o).
template <class F>
testing::AssertionResult refused(const AttentionMechanism& m, std::initializer_list<std::string_view> words,
                                 F&& spoil) {
    AttentionCase c = attention_case(m, shape, 0, 2);
    Output out = output_of(c);
    attenta::Heads<float> o = out.o.view();
    spoil(c, o);
    Context context;
    const auto result = refuses([&] { m.call(c, o, out.lse.data(), context); }, words);
    const float fresh = untouched<float>();
    for (const float x : out.o.memory())
        if (!same_bits(&x, &fresh, 1)) return testing::AssertionFailure() << "o was written";
    for (const float x : out.lse)
        if (!same_bits(&x, &fresh, 1)) return testing::AssertionFailure() << "lse was written";
    return result;
}

TEST_P(AttentionErrors, TheCallThatIsSpoiledIsGood) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
        const AttentionCase c = attention_case(*GetParam(), shape, variant, 2);
        Output out = output_of(c);
        Context context;
        EXPECT_NO_THROW(call(c, out, context)) << c.words;
    }
}

TEST_P(AttentionErrors, MissingInputs) {
    for (const attenta::Input& in : GetParam()->inputs) {
        if (in.flags & attenta::Input::optional) continue;
        EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, in.name, "null"}, [&](AttentionCase& c, auto&) {
            if (in.elements == attenta::Input::Elements::cache) {
                KvView kv = KvView::of(c.view("k"), c.view("v"));
                (in.name == std::string_view("k") ? kv.k : kv.v).data = nullptr;
                c.caches.insert_or_assign("k", kv);
            } else {
                c.floats.erase(in.name);
                c.integers.erase(in.name);
            }
        })) << in.name;
    }
}

TEST_P(AttentionErrors, ShapesThatDoNotFit) {
    const char* const name = GetParam()->name;
    EXPECT_TRUE(refused(*GetParam(), {name, "3"}, [](AttentionCase& c, auto&) { c.view("q").heads = 3; }));
    EXPECT_TRUE(refused(*GetParam(), {name, "k", "14"}, [](AttentionCase& c, auto&) { c.view("k").dim = 14; }));
    EXPECT_TRUE(refused(*GetParam(), {name, "o"}, [](AttentionCase&, auto& o) { o.dim -= 1; }));
    EXPECT_TRUE(refused(*GetParam(), {name, "o"}, [](AttentionCase&, auto& o) { o.tokens -= 1; }));
    EXPECT_TRUE(refused(*GetParam(), {name, "o", "null"}, [](AttentionCase&, auto& o) { o.data = nullptr; }));
    EXPECT_TRUE(refused(*GetParam(), {name, "o", "overlap"}, [](AttentionCase&, auto& o) { o.token_stride = 1; }));
}

/// Its last size is no other input's: one less is another good call.
bool has_own_size(const AttentionMechanism& m, const attenta::Input& in) {
    const auto last = [](const attenta::Input& i) { return i.letters().dim; };
    return std::none_of(m.inputs.begin(), m.inputs.end(), [&](const attenta::Input& other) {
        const attenta::ShapeLetters l = other.letters();
        return &other != &in && (l.heads == last(in) || l.tokens == last(in) || l.dim == last(in));
    });
}

/// Every input but q, k and v with one row, column or element less.
TEST_P(AttentionErrors, FurtherInputsThatDoNotFit) {
    for (const attenta::Input& in : GetParam()->inputs) {
        const std::string_view name = in.name;
        const AttentionCase good = attention_case(*GetParam(), shape, 0, 2);
        if (name == "q" || name == "k" || name == "v" || (in.rank > 1 && has_own_size(*GetParam(), in))) continue;
        if (good.floats.count(name) > 0) {
            EXPECT_TRUE(refused(*GetParam(), {GetParam()->name}, [&](AttentionCase& c, auto&) {
                c.view(name).dim -= 1;
            })) << name;
        }
        if (good.integers.count(name) > 0) {
            EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, name}, [&](AttentionCase& c, auto&) {
                c.integers.find(name)->second.data.pop_back();
            })) << name;
        }
    }
}

TEST_P(AttentionErrors, NothingThere) {
    const char* const name = GetParam()->name;
    EXPECT_TRUE(refused(*GetParam(), {name}, [](AttentionCase& c, auto& o) { c.view("q").tokens = o.tokens = 0; }));
    EXPECT_TRUE(refused(*GetParam(), {name}, [](AttentionCase& c, auto& o) { c.view("q").heads = o.heads = 0; }));
    EXPECT_TRUE(
        refused(*GetParam(), {name}, [](AttentionCase& c, auto&) { c.view("k").tokens = c.view("v").tokens = 0; }));
    EXPECT_TRUE(refused(*GetParam(), {name}, [](AttentionCase& c, auto&) { c.view("q").dim = c.view("k").dim = 0; }));
}

constexpr std::int64_t huge = std::int64_t{1} << 61;

TEST_P(AttentionErrors, SizesThatOverflow) {
    EXPECT_TRUE(refused(*GetParam(), {GetParam()->name}, [](AttentionCase& c, auto&) { c.view("q").heads = huge; }));
    EXPECT_TRUE(refused(*GetParam(), {GetParam()->name},
                        [](AttentionCase& c, auto& o) { c.view("q").tokens = o.tokens = huge; }));
    EXPECT_TRUE(refused(*GetParam(), {GetParam()->name},
                        [](AttentionCase& c, auto&) { c.view("k").tokens = c.view("v").tokens = huge; }));
    EXPECT_TRUE(
        refused(*GetParam(), {GetParam()->name}, [](AttentionCase& c, auto&) { c.view("k").token_stride = huge; }));
    EXPECT_TRUE(
        refused(*GetParam(), {GetParam()->name}, [](AttentionCase& c, auto&) { c.view("q").head_stride = -1; }));
}

TEST_P(AttentionErrors, OutputsThatOverlapInputs) {
    for (const attenta::Input& in : GetParam()->inputs) {
        const AttentionCase good = attention_case(*GetParam(), shape, 0, 2);
        if (good.floats.count(in.name) == 0) continue;
        EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, "o", "overlaps"}, [&](AttentionCase& c, auto& o) {
            o.data = c.view(in.name).data;
        })) << in.name;
    }
}

TEST_P(AttentionErrors, Scales) {
    if (!GetParam()->set_scale) GTEST_SKIP() << "it has none";
    constexpr float infinity = std::numeric_limits<float>::infinity();
    for (const float scale : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()})
        EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, "scale"}, [&](AttentionCase& c, auto&) {
            c.mechanism->set_scale(c, scale);
        })) << scale;
}

TEST_P(AttentionErrors, Visibility) {
    if (!GetParam()->visibility) GTEST_SKIP() << "it has a rule of its own";
    const auto refused_with = [&](std::initializer_list<std::string_view> words, auto&& set) {
        return refused(*GetParam(), words, [&](AttentionCase& c, auto&) { set(c, *GetParam()->visibility(c)); });
    };
    const char* const name = GetParam()->name;
    using Keys = attenta::VisibleKeys;
    EXPECT_TRUE(refused_with({name, "prefix", "-1"}, [](AttentionCase&, Keys& v) { v.prefix = -1; }));
    EXPECT_TRUE(refused_with({name, "window_left", "-2"}, [](AttentionCase&, Keys& v) { v.window_left = -2; }));
    EXPECT_TRUE(refused_with({name, "window_right", "-2"}, [](AttentionCase&, Keys& v) { v.window_right = -2; }));
    EXPECT_TRUE(refused_with({name, "q_offset"}, [](AttentionCase&, Keys& v) { v.q_offset = std::int64_t{1} << 63; }));
    EXPECT_TRUE(refused_with({name, "segment_k", "0"}, [](AttentionCase& c, Keys& v) {
        c.segment_q.resize(9);
        v.segment_q = c.segment_q;
    }));
    EXPECT_TRUE(refused_with({name, "segment_q", "8"}, [](AttentionCase& c, Keys& v) {
        c.segment_q.resize(8), c.segment_k.resize(40);
        v.segment_q = c.segment_q, v.segment_k = c.segment_k;
    }));
    EXPECT_TRUE(refused_with({name, "mask", "41"}, [](AttentionCase& c, Keys& v) {
        c.mask = std::make_unique<bool[]>(9 * 41);
        v.mask = {c.mask.get(), 1, 9, 41};
    }));
    EXPECT_TRUE(refused_with({name, "mask", "null"}, [](AttentionCase&, Keys& v) { v.mask = {nullptr, 1, 9, 40}; }));
}

}  // namespace
}  // namespace attenta_test
