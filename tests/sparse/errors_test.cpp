// Bad input of sparse attentions is refused before anything is written, with a message that names the function, the
// argument, what came and what was expected: what all of them refuse.
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

class SparseErrors : public SparseSuite {};
ATTENTA_SPARSE_SUITE(SparseErrors);

const Shape shape = {4, 2, 9, 40, 16, 24};

/// A call whose selection stands alone: of some mechanisms options choose whether there is one.
SparseCase selecting_case(const SparseMechanism& m) {
    for (std::size_t variant = 0; variant < m.variants.size(); ++variant) {
        SparseCase c = sparse_case(m, shape, variant, 2);
        KeyLists lists;
        Context context;
        try {
            m.select(c, lists, context);
            return c;
        } catch (const attenta::Error&) {
        }
    }
    ADD_FAILURE() << "no variant selects";
    return sparse_case(m, shape);
}

/// `spoil` changes a good call, which is then refused, and nothing is written: spoil(c, o), or spoil(c) where the selection
/// alone is to be refused as well.
template <class F>
testing::AssertionResult refused(const SparseMechanism& m, std::initializer_list<std::string_view> words, F&& spoil) {
    SparseCase c = sparse_case(m, shape, 0, 2);
    Output out = output_of(c);
    attenta::Heads<float> o = out.o.view();
    if constexpr (std::is_invocable_v<F&, SparseCase&>) {
        spoil(c);
        if (m.select) {
            SparseCase alone = selecting_case(m);
            spoil(alone);
            KeyLists lists({.queries = 1, .keys = 9});
            lists.add(3, 2);
            lists.end_list();
            const std::string before = lists.text();
            Context context;
            const auto result = refuses([&] { m.select(alone, lists, context); }, words);
            if (!result) return testing::AssertionFailure() << "alone: " << result.message();
            if (lists.text() != before) return testing::AssertionFailure() << "lists were written";
        }
    } else {
        spoil(c, o);
    }
    Context context;
    const auto result = refuses([&] { m.call(c, o, m.has_lse ? out.lse.data() : nullptr, nullptr, context); }, words);
    const float fresh = untouched<float>();
    for (const float x : out.o.memory())
        if (!same_bits(&x, &fresh, 1)) return testing::AssertionFailure() << "o was written";
    for (const float x : out.lse)
        if (!same_bits(&x, &fresh, 1)) return testing::AssertionFailure() << "lse was written";
    return result;
}

TEST_P(SparseErrors, TheCallThatIsSpoiledIsGood) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
        const SparseCase c = sparse_case(*GetParam(), shape, variant, 2);
        Output out = output_of(c);
        Context context;
        EXPECT_NO_THROW(call(c, out, context)) << c.words;
    }
}

TEST_P(SparseErrors, MissingInputs) {
    for (const attenta::Input& in : GetParam()->inputs) {
        if (in.flags & attenta::Input::optional) continue;
        EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, in.name, "null"}, [&](SparseCase& c) {
            if (in.elements == attenta::Input::Elements::integers) {
                c.integers.erase(in.name);
            } else if (in.elements == attenta::Input::Elements::cache) {
                std::string k(in.name), v(in.name);  // "mem_k", "mem_v"
                k.back() = 'k', v.back() = 'v';
                if (c.floats.count(in.name) == 0) return;
                KvView kv = KvView::of(c.view(k), c.view(v));
                (in.name == k ? kv.k : kv.v).data = nullptr;
                c.caches.insert_or_assign(k, kv);
            } else {
                c.floats.erase(in.name);
            }
        })) << in.name;
    }
}

TEST_P(SparseErrors, ShapesThatDoNotFit) {
    EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, "3"}, [](SparseCase& c, auto&) { c.view("q").heads = 3; }));
    EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, "k", "15"}, [](SparseCase& c) { c.view("k").dim = 15; }));
    EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, "o", "23"}, [](SparseCase&, auto& o) { o.dim = 23; }));
    EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, "o"}, [](SparseCase&, auto& o) { o.tokens -= 1; }));
    EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, "null"}, [](SparseCase&, auto& o) { o.data = nullptr; }));
}

TEST_P(SparseErrors, NothingThere) {
    EXPECT_TRUE(
        refused(*GetParam(), {GetParam()->name}, [](SparseCase& c, auto& o) { c.view("q").tokens = o.tokens = 0; }));
    EXPECT_TRUE(
        refused(*GetParam(), {GetParam()->name}, [](SparseCase& c, auto& o) { c.view("q").heads = o.heads = 0; }));
    EXPECT_TRUE(
        refused(*GetParam(), {GetParam()->name}, [](SparseCase& c) { c.view("k").tokens = c.view("v").tokens = 0; }));
}

TEST_P(SparseErrors, QueriesWithoutPosition) {
    if (GetParam()->positions == attenta::Positions::none) GTEST_SKIP() << "queries have no positions";
    EXPECT_TRUE(
        refused(*GetParam(), {GetParam()->name}, [](SparseCase& c) { c.view("k").tokens = c.view("v").tokens = 8; }));
}

/// Rings and caches after an eviction keep tokens in another order.
TEST_P(SparseErrors, KeysInAnotherOrder) {
    if (GetParam()->positions == attenta::Positions::none) GTEST_SKIP() << "keys have no positions";
    std::vector<std::int32_t> positions(40);
    EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, "positions"}, [&](SparseCase& c) {
        KvView kv = KvView::of(c.view("k"), c.view("v"));
        for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<std::int32_t>(39 - i);
        kv.positions = positions.data();
        kv.positions_stride = 40;
        c.caches.insert_or_assign("k", kv);
    }));
}

TEST_P(SparseErrors, OutputsThatOverlapInputs) {
    EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, "o", "overlaps"},
                        [](SparseCase& c, auto& o) { o.data = c.view("k").data; }));
}

/// The others have memory of their own, too: not that of an input, of o or of each other.
TEST_P(SparseErrors, FurtherOutputsThatOverlap) {
    const SparseMechanism& m = *GetParam();
    std::vector<double> memory(4096);
    for (const SparseOutput& further : m.outputs) {
        const auto refused_at = [&](auto&& place) {
            return refused(m, {m.name, further.name, "overlaps"},
                           [&](SparseCase& c, auto& o) { c.outputs[further.name] = place(c, o); });
        };
        for (const attenta::Input& in : m.inputs) {
            const SparseCase c = sparse_case(m, shape, 0, 2);
            if (c.floats.count(in.name) > 0) {
                EXPECT_TRUE(refused_at([&](SparseCase& to, auto&) { return to.view(in.name).data; })) << in.name;
            }
            if (c.integers.count(in.name) > 0) {
                EXPECT_TRUE(refused_at([&](SparseCase& to, auto&) { return to.integers.at(in.name).data.data(); }))
                    << in.name;
            }
        }
        EXPECT_TRUE(refused_at([](SparseCase&, auto& o) { return o.data; })) << further.name;
        for (const SparseOutput& other : m.outputs) {
            if (&other >= &further) continue;
            EXPECT_TRUE(refused_at([&](SparseCase& c, auto&) { return c.outputs[other.name] = memory.data(); }))
                << other.name;
        }
        EXPECT_TRUE(refused(m, {m.name, further.name, "misaligned"}, [&](SparseCase& c, auto&) {
            c.outputs[further.name] = reinterpret_cast<std::byte*>(memory.data()) + 1;
        })) << further.name;
    }
}

TEST_P(SparseErrors, Scales) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    for (const float scale : {0.f, -1.f, infinity, std::numeric_limits<float>::quiet_NaN()})
        EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, "scale"}, [&](SparseCase& c, auto&) {
            c.mechanism->set_scale(c, scale);
        })) << scale;
}

/// With check_data, NaN anywhere.
TEST_P(SparseErrors, NotANumber) {
    for (const attenta::Input& in : GetParam()->inputs) {
        if (in.elements == attenta::Input::Elements::integers || (in.flags & attenta::Input::optional)) continue;
        EXPECT_TRUE(refused(*GetParam(), {GetParam()->name, in.name, "nan"}, [&](SparseCase& c, auto&) {
            c.view(in.name).row(0, 0)[0] = std::numeric_limits<float>::quiet_NaN();
            c.mechanism->check_data(c);
        })) << in.name;
    }
}

}  // namespace
}  // namespace attenta_test
