// Bad input is refused before anything is written, with a message that names the argument, what came and what was
// expected.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/errors.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::KvView;
using Words = std::initializer_list<std::string_view>;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

/// A good call: Hq 4, Hkv 2, Tq 6, Tk 10, D 16, Dv 24. Tests spoil one thing.
struct Call {
    Tensor<float> q_memory{4, 6, 16}, k_memory{2, 10, 16}, v_memory{2, 10, 24};
    Output out{4, 6, 24};
    attenta::Heads<const float> q = q_memory.view();
    KvView kv = KvView::of(k_memory.view(), v_memory.view());
    attenta::Heads<float> o = out.o.view();
    float* lse = out.lse.data();
    attenta::SoftmaxOptions options;
    std::vector<std::int32_t> q_lengths;

    std::vector<float> floats = std::vector<float>(1000);
    std::vector<std::int64_t> integers = std::vector<std::int64_t>(1000);
    std::unique_ptr<bool[]> bools = std::make_unique<bool[]>(4000);
    std::vector<std::int32_t> table, lengths;

    void run() {
        if (q_lengths.empty())
            attenta::softmax_attention(q, kv, o, options, lse);
        else
            attenta::softmax_attention(q, q_lengths, kv, o, options, lse);
    }

    /// The same memory as three sequences of 4, 0 and 6 keys in pages of 2.
    void use_pages() {
        table = {4, 1, -1, -1, -1, -1, 0, 2, 3};
        lengths = {4, 0, 6};
        q_lengths = {1, 2, 3};
        kv = KvView::paged(attenta::nhd(k_memory.row(0, 0), 2, 2, 16), attenta::nhd(v_memory.row(0, 0), 2, 2, 24),
                           {.pages = 5,
                            .page_stride = 64,
                            .v_page_stride = 96,
                            .block_table = table.data(),
                            .table_stride = 3,
                            .lengths = lengths.data(),
                            .sequences = 3});
    }
};

template <class Spoil>
testing::AssertionResult refused(Words words, Spoil&& spoil) {
    Call call;
    spoil(call);
    const std::vector<float> o = call.out.o.memory(), lse = call.out.lse;
    testing::AssertionResult result = refuses([&] { call.run(); }, words);
    if (!result) return result;
    if (!same_bits(o.data(), call.out.o.memory().data(), static_cast<std::int64_t>(o.size())) ||
        !same_bits(lse.data(), call.out.lse.data(), static_cast<std::int64_t>(lse.size())))
        return testing::AssertionFailure() << "o or lse was written";
    return result;
}

/// ... by the call and by the plan, which sees neither o nor lse.
template <class Spoil>
testing::AssertionResult refused_and_not_planned(Words words, Spoil&& spoil) {
    testing::AssertionResult result = refused(words, spoil);
    if (!result) return result;
    Call call;
    spoil(call);
    try {
        attenta::plan_softmax(call.q, call.q_lengths, call.kv, call.options);
    } catch (const attenta::Error&) {
        return result;
    }
    return testing::AssertionFailure() << "plan_softmax threw nothing";
}

TEST(SoftmaxErrors, TheCallThatIsSpoiledIsGood) {
    Call call;
    call.run();
    Call paged;
    paged.use_pages();
    paged.run();
    EXPECT_EQ(paged.lse[1], -infinity);  // of the sequence without keys
}

TEST(SoftmaxErrors, Shapes) {
    EXPECT_TRUE(refused_and_not_planned({"softmax_attention", "k", "12", "16"}, [](Call& c) { c.kv.k.dim = 12; }));
    EXPECT_TRUE(refused_and_not_planned({"q", "5", "2"}, [](Call& c) { c.q.heads = 5, c.o.heads = 5; }));
    EXPECT_TRUE(refused_and_not_planned({"0"}, [](Call& c) { c.kv.heads = 0; }));
    EXPECT_TRUE(refused_and_not_planned({"0"}, [](Call& c) { c.q.dim = c.kv.k.dim = 0; }));
    EXPECT_TRUE(refused_and_not_planned({"v", "0"}, [](Call& c) { c.kv.v.dim = c.o.dim = 0; }));
    EXPECT_TRUE(refused_and_not_planned({"q", "-1"}, [](Call& c) { c.q.tokens = c.o.tokens = -1; }));
    EXPECT_TRUE(refused_and_not_planned({"-7"}, [](Call& c) { c.kv.tokens = -7; }));
    EXPECT_TRUE(refused({"softmax_attention", "o", "3", "4"}, [](Call& c) { c.o.heads = 3; }));
    EXPECT_TRUE(refused({"softmax_attention", "o", "5", "6"}, [](Call& c) { c.o.tokens = 5; }));
    EXPECT_TRUE(refused({"softmax_attention", "o", "23", "24"}, [](Call& c) { c.o.dim = 23; }));
}

TEST(SoftmaxErrors, KeysAndValuesThatDoNotFitEachOther) {
    Call c;
    const auto call = [&](attenta::Heads<float> v) {
        return [&c, v] { attenta::softmax_attention(c.q, c.k_memory.view(), v, c.o, {}, c.lse); };
    };
    attenta::Heads<float> shorter = c.v_memory.view(), fewer = c.v_memory.view();
    shorter.tokens = 9;
    fewer.heads = 1;
    EXPECT_TRUE(refuses(call(shorter), {"softmax_attention", "v", "9", "10"}));
    EXPECT_TRUE(refuses(call(fewer), {"softmax_attention", "v", "1", "2"}));
}

TEST(SoftmaxErrors, RowsOfTheOutputThatOverlap) {
    EXPECT_TRUE(refused({"o", "10", "24"}, [](Call& c) { c.o.token_stride = 10; }));
    EXPECT_TRUE(refused({"o", "0"}, [](Call& c) { c.o.token_stride = 0; }));
    EXPECT_TRUE(refused({"o", "-24"}, [](Call& c) { c.o.token_stride = -24; }));
    EXPECT_TRUE(refused({"o", "0"}, [](Call& c) { c.o.head_stride = 0; }));
    EXPECT_TRUE(refused({"o", "24"}, [](Call& c) { c.o.head_stride = 24; }));
    EXPECT_TRUE(refused({"o", "120"}, [](Call& c) { c.o.head_stride = 5 * 24; }));
}

TEST(SoftmaxErrors, StridesOfAxesWithOneEntryDoNotMatter) {
    Call c;
    c.q.tokens = c.o.tokens = 1;
    c.o.token_stride = c.q.token_stride = 0;
    c.run();
}

TEST(SoftmaxErrors, NullPointers) {
    EXPECT_TRUE(refused({"q", "null"}, [](Call& c) { c.q.data = nullptr; }));
    EXPECT_TRUE(refused({"k", "null"}, [](Call& c) { c.kv.k.data = nullptr; }));
    EXPECT_TRUE(refused({"v", "null"}, [](Call& c) { c.kv.v.data = nullptr; }));
    EXPECT_TRUE(refused({"o", "null"}, [](Call& c) { c.o.data = nullptr; }));
}

TEST(SoftmaxErrors, NullPointersToNothingAreGood) {
    Call keys;
    keys.kv.tokens = 0;
    keys.kv.k.data = keys.kv.v.data = nullptr;
    keys.run();
    EXPECT_EQ(keys.lse[0], -infinity);
    Call queries;
    queries.q.tokens = queries.o.tokens = 0;
    queries.q.data = nullptr;
    queries.o.data = nullptr;
    queries.run();
}

TEST(SoftmaxErrors, ScalarOptions) {
    EXPECT_TRUE(refused_and_not_planned({"window_left", "-2"}, [](Call& c) { c.options.window_left = -2; }));
    EXPECT_TRUE(refused_and_not_planned({"window_right", "-3"}, [](Call& c) { c.options.window_right = -3; }));
    EXPECT_TRUE(
        refused_and_not_planned({"prefix", "-1"}, [](Call& c) { c.options.causal = true, c.options.prefix = -1; }));
    EXPECT_TRUE(refused_and_not_planned({"prefix", "-1"}, [](Call& c) { c.options.prefix = -1; }));
    EXPECT_TRUE(refused_and_not_planned({"scale"}, [](Call& c) { c.options.scale = nan; }));
    EXPECT_TRUE(refused_and_not_planned({"scale"}, [](Call& c) { c.options.scale = infinity; }));
    EXPECT_TRUE(refused_and_not_planned({"scale"}, [](Call& c) { c.options.scale = -infinity; }));
    EXPECT_TRUE(refused_and_not_planned({"softcap"}, [](Call& c) { c.options.softcap = -1; }));
    EXPECT_TRUE(refused_and_not_planned({"softcap"}, [](Call& c) { c.options.softcap = nan; }));
}

TEST(SoftmaxErrors, ArraysPerHead) {
    EXPECT_TRUE(refused_and_not_planned({"alibi_slopes", "3", "4"}, [](Call& c) {
        c.options.alibi_slopes = {c.floats.data(), 3};
    }));
    EXPECT_TRUE(refused_and_not_planned({"alibi_slopes", "1", "4"}, [](Call& c) {
        c.options.alibi_slopes = {c.floats.data(), 1};
    }));
    EXPECT_TRUE(refused_and_not_planned({"sink", "5", "4"}, [](Call& c) { c.options.sink = {c.floats.data(), 5}; }));
    EXPECT_TRUE(refused_and_not_planned({"sink", "2", "4"}, [](Call& c) { c.options.sink = {c.floats.data(), 2}; }));
}

TEST(SoftmaxErrors, Segments) {
    const auto segments = [](std::size_t q, std::size_t k) {
        return [q, k](Call& c) {
            c.options.segment_q = {c.integers.data(), q}, c.options.segment_k = {c.integers.data(), k};
        };
    };
    EXPECT_TRUE(refused_and_not_planned({"segment_k"}, segments(6, 0)));
    EXPECT_TRUE(refused_and_not_planned({"segment_q"}, segments(0, 10)));
    EXPECT_TRUE(refused_and_not_planned({"segment_q", "5", "6"}, segments(5, 10)));
    EXPECT_TRUE(refused_and_not_planned({"segment_k", "11", "10"}, segments(6, 11)));
    EXPECT_TRUE(refused_and_not_planned({"segment_k", "null", "10"}, [](Call& c) {
        c.options.segment_q = {c.integers.data(), 6}, c.options.segment_k = {static_cast<std::int64_t*>(nullptr), 10};
    }));
}

TEST(SoftmaxErrors, SegmentsOfNoKeysAreGood) {
    Call c;
    c.kv.tokens = 0;
    c.options.segment_q = {c.integers.data(), 6};
    c.run();
    EXPECT_EQ(c.lse[23], -infinity);
    Call queries;
    queries.q.tokens = queries.o.tokens = 0;
    queries.options.segment_k = {queries.integers.data(), 10};
    queries.run();
}

TEST(SoftmaxErrors, ABatchOfNoSequencesIsGood) {
    Call c;
    c.kv = KvView::paged(attenta::nhd(c.k_memory.row(0, 0), 2, 2, 16), attenta::nhd(c.v_memory.row(0, 0), 2, 2, 24), 64,
                         5, nullptr, 0, nullptr, 0);
    c.q.tokens = c.o.tokens = 0;
    c.run();
    attenta::plan_softmax(c.q, {}, c.kv).run(c.q, c.kv, c.o);
    EXPECT_TRUE(c.out.o.padding_is_untouched());
    c.q.tokens = 6;
    EXPECT_TRUE(refuses([&] { c.run(); }, {"q_lengths", "0"}));
}

TEST(SoftmaxErrors, MasksAndBiases) {
    const auto bias = [](std::int64_t heads, std::int64_t rows, std::int64_t cols) {
        return [=](Call& c) { c.options.bias = {c.floats.data(), heads, rows, cols}; };
    };
    const auto mask = [](std::int64_t heads, std::int64_t rows, std::int64_t cols) {
        return [=](Call& c) { c.options.mask = {c.bools.get(), heads, rows, cols}; };
    };
    EXPECT_TRUE(refused_and_not_planned({"bias", "2", "4"}, bias(2, 6, 10)));
    EXPECT_TRUE(refused_and_not_planned({"bias", "5", "6"}, bias(4, 5, 10)));
    EXPECT_TRUE(refused_and_not_planned({"bias", "11", "10"}, bias(1, 6, 11)));
    EXPECT_TRUE(refused_and_not_planned({"bias", "-1"}, bias(1, 6, -1)));
    EXPECT_TRUE(refused_and_not_planned({"bias", "0"}, bias(0, 6, 10)));
    EXPECT_TRUE(refused_and_not_planned({"mask", "3", "4"}, mask(3, 6, 10)));
    EXPECT_TRUE(refused_and_not_planned({"mask", "7", "6"}, mask(4, 7, 10)));
    EXPECT_TRUE(refused_and_not_planned({"mask", "11", "10"}, mask(1, 6, 11)));
    const auto null = [](Call& c) { c.options.mask = {nullptr, 1, 6, 10}; };
    EXPECT_TRUE(refused_and_not_planned({"mask", "null"}, null));
    EXPECT_TRUE(refused_and_not_planned({"bias", "null"}, [](Call& c) {
        c.options.bias = {static_cast<float*>(nullptr), 1, 6, 0};
    }));
    EXPECT_TRUE(refused_and_not_planned({"bias", "misaligned", "2"}, [](Call& c) {
        const auto* odd =
            reinterpret_cast<const attenta::bfloat16*>(reinterpret_cast<const char*>(c.floats.data()) + 1);
        c.options.bias = {odd, 1, 6, 10};
    }));
}

TEST(SoftmaxErrors, StridesOfMasksAndBiases) {
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    EXPECT_TRUE(refused_and_not_planned({"mask", "-10"}, [](Call& c) {
        c.options.mask = {c.bools.get() + 100, 1, 6, 10, -10};
    }));
    EXPECT_TRUE(refused_and_not_planned({"bias", "-60"}, [](Call& c) {
        c.options.bias = attenta::Matrices<float>{c.floats.data() + 300, 4, 6, 10, 10, -60};
    }));
    for (const std::int64_t stride : {most, most / 4, most / 24, std::int64_t{1} << 55}) {
        EXPECT_TRUE(refused_and_not_planned({"mask", "memory"},
                                            [=](Call& c) { c.options.mask = {c.bools.get(), 4, 6, 10, stride, 10}; }));
        EXPECT_TRUE(refused_and_not_planned({"bias", "memory"}, [=](Call& c) {
            c.options.bias = attenta::Matrices<float>{c.floats.data(), 4, 6, 10, 10, stride};
        }));
    }
    Call shared;  // one row and one sheet for all, by strides
    shared.options.mask = {shared.bools.get(), 4, 6, 10, 0, 0};
    shared.options.bias = attenta::Matrices<float>{shared.floats.data(), 4, 6, 10, 0, 0};
    shared.run();
}

TEST(SoftmaxErrors, SizesThatNoMemoryHolds) {
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max(), huge = std::int64_t{1} << 62;
    for (const std::int64_t n : {most, huge, std::int64_t{1} << 55}) {
        EXPECT_TRUE(refused({"q"}, [=](Call& c) { c.q.tokens = c.o.tokens = n; }));
        EXPECT_TRUE(refused_and_not_planned({"q"}, [=](Call& c) { c.q.token_stride = n; }));
        EXPECT_TRUE(refused_and_not_planned({"q"}, [=](Call& c) { c.q.head_stride = n; }));
        EXPECT_TRUE(refused_and_not_planned({"k"}, [=](Call& c) { c.kv.k.token_stride = n; }));
        EXPECT_TRUE(refused_and_not_planned({"v"}, [=](Call& c) { c.kv.v.head_stride = n; }));
        EXPECT_TRUE(refused_and_not_planned({"k"}, [=](Call& c) { c.use_pages(), c.kv.k.page_stride = n; }));
        EXPECT_TRUE(refused_and_not_planned({"k"}, [=](Call& c) { c.use_pages(), c.kv.pages = n; }));
        EXPECT_TRUE(refused({"o"}, [=](Call& c) { c.o.token_stride = n; }));
        EXPECT_TRUE(refused({"o"}, [=](Call& c) { c.o.head_stride = n; }));
    }
    for (const std::int64_t offset : {most, -most - 1, huge + 1, -huge - 1})
        EXPECT_TRUE(refused_and_not_planned({"q_offset", "2"}, [=](Call& c) { c.options.q_offset = offset; }));
}

TEST(SoftmaxErrors, NullArrays) {
    EXPECT_TRUE(refused_and_not_planned({"alibi_slopes", "null", "4"}, [](Call& c) {
        c.options.alibi_slopes = {static_cast<float*>(nullptr), 4};
    }));
    EXPECT_TRUE(refused_and_not_planned({"sink", "null", "4"}, [](Call& c) {
        c.options.sink = {static_cast<float*>(nullptr), 4};
    }));
    Call c;
    c.use_pages();
    const std::span<const std::int32_t> lengths{static_cast<const std::int32_t*>(nullptr), 3};
    EXPECT_TRUE(refuses([&] { attenta::softmax_attention(c.q, lengths, c.kv, c.o); }, {"q_lengths", "null", "3"}));
}

TEST(SoftmaxErrors, EditsWithoutAFunction) {
    const auto edit = attenta::edit([](attenta::ScoreTile&) {});
    const auto kernel_of_nowhere = attenta::ScoreEdit(0, [](attenta::Isa) -> attenta::TileFunction { return nullptr; });
    EXPECT_TRUE(refused_and_not_planned({"edits", "1", "empty"}, [&](Call& c) {
        c.options.edits = {edit, attenta::ScoreEdit{}};
    }));
    EXPECT_TRUE(refused_and_not_planned({"edits", "0", name(attenta::active_isa())},
                                        [&](Call& c) { c.options.edits = {kernel_of_nowhere}; }));
}

/// A batch as `use_pages` makes it, with masks and biases of 1 x 4, 2 x 0 and 3 x 6.
struct Described {
    std::vector<attenta::Matrices<const bool>> masks;
    std::vector<attenta::FloatMatrices> biases;
    std::vector<attenta::Documents> segments;

    explicit Described(Call& c) {
        c.use_pages();
        for (const auto& [queries, keys] : {std::pair<std::int64_t, std::int64_t>{1, 4}, {2, 0}, {3, 6}}) {
            masks.push_back({c.bools.get(), 4, queries, keys});
            biases.push_back({c.floats.data(), 1, queries, keys});
            segments.push_back({{c.integers.data(), static_cast<std::size_t>(queries)},
                                {c.integers.data(), static_cast<std::size_t>(keys)}});
        }
        c.options.masks = masks;
        c.options.biases = biases;
        c.options.segments = segments;
    }
};

TEST(SoftmaxErrors, MasksBiasesAndSegmentsOfABatch) {
    std::unique_ptr<Described> of;
    const auto spoiled = [&](auto&& spoil) {
        return [&of, spoil](Call& c) {
            of = std::make_unique<Described>(c);
            spoil(c, *of);
        };
    };
    Call good;
    of = std::make_unique<Described>(good);
    good.run();
    EXPECT_TRUE(refused_and_not_planned({"masks", "2", "3"}, spoiled([](Call& c, Described& d) {
                                            c.options.masks = {d.masks.data(), 2};
                                        })));
    EXPECT_TRUE(refused_and_not_planned({"biases", "4", "3"}, spoiled([](Call& c, Described& d) {
                                            c.options.biases = {d.biases.data(), 4};
                                        })));
    EXPECT_TRUE(refused_and_not_planned({"segments", "1", "3"}, spoiled([](Call& c, Described& d) {
                                            c.options.segments = {d.segments.data(), 1};
                                        })));
    EXPECT_TRUE(refused_and_not_planned({"mask", "sequence", "7", "6"},
                                        spoiled([](Call&, Described& d) { d.masks[2].cols = 7; })));
    EXPECT_TRUE(refused_and_not_planned({"bias", "sequence", "0", "3", "1"},
                                        spoiled([](Call&, Described& d) { d.biases[0].rows = 3; })));
    EXPECT_TRUE(refused_and_not_planned({"segment_q", "sequence", "2", "3"}, spoiled([](Call&, Described& d) {
                                            d.segments[2].query = d.segments[2].query.first(2);
                                        })));
    EXPECT_TRUE(refused_and_not_planned({"segment_k", "sequence", "0", "missing"},
                                        spoiled([](Call&, Described& d) { d.segments[0].key = {}; })));
    EXPECT_TRUE(refused_and_not_planned({"masks", "mask"}, [&](Call& c) {
        of = std::make_unique<Described>(c);
        c.options.mask = {c.bools.get(), 1, 6, 10};
    }));
    EXPECT_TRUE(refused_and_not_planned({"q_lengths"}, spoiled([](Call& c, Described&) { c.q_lengths = {3, 3}; })));
    EXPECT_TRUE(refused_and_not_planned({"lengths"}, spoiled([](Call& c, Described&) { c.kv.lengths = nullptr; })));
}

TEST(SoftmaxErrors, OptionsOfOneSequenceInABatch) {
    EXPECT_TRUE(refused_and_not_planned({"bias", "3"}, [](Call& c) {
        c.use_pages(), c.options.bias = {c.floats.data(), 1, 6, 10};
    }));
    EXPECT_TRUE(refused_and_not_planned({"mask", "3"}, [](Call& c) {
        c.use_pages(), c.options.mask = {c.bools.get(), 1, 6, 10};
    }));
    EXPECT_TRUE(refused_and_not_planned({"3"}, [](Call& c) {
        c.use_pages();
        c.options.segment_q = {c.integers.data(), 6}, c.options.segment_k = {c.integers.data(), 10};
    }));
}

TEST(SoftmaxErrors, BlockTables) {
    EXPECT_TRUE(refused_and_not_planned({"block_table", "-1", "5"}, [](Call& c) { c.use_pages(), c.table[1] = -1; }));
    EXPECT_TRUE(refused_and_not_planned({"block_table", "5"}, [](Call& c) { c.use_pages(), c.table[8] = 5; }));
    EXPECT_TRUE(
        refused_and_not_planned({"block_table", "2", "3"}, [](Call& c) { c.use_pages(), c.kv.table_stride = 2; }));
    EXPECT_TRUE(
        refused_and_not_planned({"block_table", "null"}, [](Call& c) { c.use_pages(), c.kv.block_table = nullptr; }));
    EXPECT_TRUE(refused_and_not_planned({"page_size", "-2"}, [](Call& c) { c.use_pages(), c.kv.page_size = -2; }));
}

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

TEST(SoftmaxErrors, MissingPagesThatSomeQuerySees) {
    // Sequence 2 has 6 keys in 3 pages and 3 queries at 3, 4, 5.
    const auto windowed = [](Call& c) { c.use_pages(), c.options.causal = true, c.options.window_left = 1; };
    Call good;
    windowed(good);
    good.table[6] = -1;
    good.run();
    EXPECT_TRUE(
        refused_and_not_planned({"block_table", "2", "1", "-1"}, [&](Call& c) { windowed(c), c.table[7] = -1; }));
    EXPECT_TRUE(refused_and_not_planned({"block_table", "2", "1", "17"},
                                        [&](Call& c) { windowed(c), c.table[6] = -1, c.table[7] = 17; }));
    Call silent;  // no queries: no page is seen
    silent.use_pages();
    silent.q_lengths = {0, 2, 4};
    silent.table[0] = -1;
    silent.run();
}

TEST(SoftmaxErrors, CachesThatCannotBe) {
    for (const bool value : {false, true}) {
        const std::string_view name = value ? "v" : "k";
        const auto side = [value](Call& c) -> KvView::Rows& { return value ? c.kv.v : c.kv.k; };
        for (const std::int64_t stride : {most, most / 2, most / 4, (most >> 3) + 1}) {
            EXPECT_TRUE(refused_and_not_planned({name}, [&](Call& c) { side(c).token_stride = stride; }));
            EXPECT_TRUE(refused_and_not_planned({name}, [&](Call& c) { c.use_pages(), side(c).page_stride = stride; }));
        }
        EXPECT_TRUE(refused_and_not_planned({name}, [&](Call& c) { side(c).head_stride = most / 4; }));
        EXPECT_TRUE(
            refused_and_not_planned({name, "Dtype"}, [&](Call& c) { side(c).dtype = static_cast<attenta::Dtype>(4); }));
    }
    EXPECT_TRUE(
        refused_and_not_planned({"v", "features"}, [](Call& c) { c.kv.tokens = 0, c.kv.v.dim = c.o.dim = most; }));
    EXPECT_TRUE(
        refused_and_not_planned({"k", "features"}, [](Call& c) { c.kv.tokens = 0, c.kv.k.dim = c.q.dim = most; }));
    for (const std::int64_t tokens : {most, most - 100, std::int64_t{1} << 50})
        EXPECT_TRUE(refused_and_not_planned(
            {"keys"}, [&](Call& c) { c.kv.tokens = tokens, c.kv.k.token_stride = c.kv.v.token_stride = 0; }));
    EXPECT_TRUE(refused_and_not_planned({"table_stride"}, [](Call& c) { c.use_pages(), c.kv.table_stride = most; }));
    EXPECT_TRUE(refused_and_not_planned({"k"}, [](Call& c) { c.use_pages(), c.kv.page_size = most; }));
}

TEST(SoftmaxErrors, Positions) {
    const auto positions = [](Call& c, std::int64_t stride) {
        c.table.assign(10, 3), c.kv.positions = c.table.data(), c.kv.positions_stride = stride;
    };
    EXPECT_TRUE(refused_and_not_planned({"positions_stride", "9", "10"}, [&](Call& c) { positions(c, 9); }));
    EXPECT_TRUE(refused_and_not_planned({"positions_stride", "0", "10"}, [&](Call& c) { positions(c, 0); }));
    EXPECT_TRUE(refused_and_not_planned({"positions_stride", "-10", "10"}, [&](Call& c) { positions(c, -10); }));
    EXPECT_TRUE(refused_and_not_planned({"positions_stride"}, [&](Call& c) {
        c.use_pages(), c.kv.positions = c.table.data(), c.kv.positions_stride = most / 2;
    }));
    Call good;
    positions(good, 10);
    good.run();
}

TEST(SoftmaxErrors, OffsetsOfQueries) {
    for (const std::int64_t offset : {most, -most - 1, most / 4 * 3, -most / 4 * 3})
        EXPECT_TRUE(refused_and_not_planned({"q_offset", std::to_string(offset)},
                                            [&](Call& c) { c.options.q_offset = offset; }));
    const auto offsets = [](Call& c, std::initializer_list<std::int64_t> list) {
        c.integers = list, c.options.q_offsets = c.integers;
    };
    EXPECT_TRUE(refused_and_not_planned({"q_offsets", "2", "3"}, [&](Call& c) { c.use_pages(), offsets(c, {1, 2}); }));
    EXPECT_TRUE(refused_and_not_planned({"q_offsets", "2", "1"}, [&](Call& c) { offsets(c, {1, 2}); }));
    EXPECT_TRUE(refused_and_not_planned({"q_offsets", std::to_string(most)}, [&](Call& c) {
        c.use_pages(), offsets(c, {1, 2, most});
    }));
    EXPECT_TRUE(
        refused_and_not_planned({"q_offset", "q_offsets"}, [&](Call& c) { offsets(c, {1}), c.options.q_offset = 1; }));
}

TEST(SoftmaxErrors, Lengths) {
    EXPECT_TRUE(refused_and_not_planned({"-3"}, [](Call& c) { c.use_pages(), c.lengths[1] = -3; }));
    EXPECT_TRUE(refused_and_not_planned({"lengths"}, [](Call& c) { c.use_pages(), c.kv.lengths = nullptr; }));
    EXPECT_TRUE(refused_and_not_planned({"q_lengths", "7", "6"}, [](Call& c) {
        c.use_pages(), c.q_lengths = {1, 2, 4};
    }));
    EXPECT_TRUE(refused_and_not_planned({"q_lengths", "5", "6"}, [](Call& c) {
        c.use_pages(), c.q_lengths = {1, 2, 2};
    }));
    EXPECT_TRUE(refused_and_not_planned({"q_lengths", "2", "3"}, [](Call& c) { c.use_pages(), c.q_lengths = {3, 3}; }));
    EXPECT_TRUE(refused_and_not_planned({"q_lengths", "-1"}, [](Call& c) { c.use_pages(), c.q_lengths = {4, -1, 3}; }));
}

/// `x` moved by some bytes.
template <class T>
T* moved(T* x, std::uintptr_t bytes) {
    return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(x) + bytes);
}

TEST(SoftmaxErrors, MisalignedPointers) {
    for (const attenta::Dtype half : {attenta::Dtype::bf16, attenta::Dtype::f16}) {
        EXPECT_TRUE(refused({"k"}, [&](Call& c) { c.kv.k.dtype = half, c.kv.k.data = moved(c.kv.k.data, 1); }));
        EXPECT_TRUE(refused({"v"}, [&](Call& c) { c.kv.v.dtype = half, c.kv.v.data = moved(c.kv.v.data, 1); }));
    }
    EXPECT_TRUE(refused({"k"}, [](Call& c) { c.kv.k.data = moved(c.kv.k.data, 2); }));
    EXPECT_TRUE(refused({"v"}, [](Call& c) { c.kv.v.data = moved(c.kv.v.data, 1); }));
    EXPECT_TRUE(refused({"q"}, [](Call& c) { c.q.data = moved(c.q.data, 2); }));
    EXPECT_TRUE(refused({"o"}, [](Call& c) { c.o.data = moved(c.o.data, 2); }));
}

TEST(SoftmaxErrors, OutputsOverInputs) {
    // Half the keys and one query: o begins on the last element of its input and ends in the same memory.
    const auto small = [](Call& c) { c.kv.tokens = 5, c.q.tokens = 1, c.o = attenta::hnd(c.o.data, 4, 1, 24); };
    const auto narrow = [&](Call& c) { small(c), c.kv.v.dim = 16, c.o = attenta::hnd(c.o.data, 4, 1, 16); };
    EXPECT_TRUE(refused({"o", "q"}, [&](Call& c) { narrow(c), c.o.data = c.q_memory.row(3, 0) + 15; }));
    EXPECT_TRUE(refused({"o", "k"}, [&](Call& c) { narrow(c), c.o.data = c.k_memory.row(1, 4) + 15; }));
    EXPECT_TRUE(refused({"o", "v"}, [&](Call& c) { small(c), c.o.data = c.v_memory.row(1, 4) + 23; }));
    EXPECT_TRUE(refused({"o", "k"}, [&](Call& c) {
        c.use_pages(), small(c), c.q_lengths = {0, 0, 1};
        c.kv.pages = 2, c.table.assign(9, 1), c.o.data = c.k_memory.row(0, 7) + 15;
    }));
    EXPECT_TRUE(refused({"lse", "o"}, [](Call& c) { c.lse = c.o.row(3, 5); }));
}

/// Two calls for each array: one of the outputs stands on its last element.
template <class Array, class Give>
void expect_no_output_over(std::string_view name, Array&& array, Give&& give) {
    const auto spoil = [&](Call& c) {
        for (auto* tables : {&c.table, &c.lengths, &c.q_lengths}) tables->reserve(1000);  // the output ends in them
        give(c);
    };
    EXPECT_TRUE(refused({"o", name}, [&](Call& c) { spoil(c), c.o.data = array(c); }));
    EXPECT_TRUE(refused({"lse", name}, [&](Call& c) { spoil(c), c.lse = array(c); }));
}

TEST(SoftmaxErrors, OutputsOverArraysOfTheOptionsAndTheCache) {
    const auto floats_at = [](std::size_t i) { return [i](Call& c) { return c.floats.data() + i; }; };
    const auto integers = [](Call& c) { return reinterpret_cast<float*>(c.integers.data() + 5); };
    expect_no_output_over("bias", floats_at(4 * 60 - 1), [](Call& c) { c.options.bias = {c.floats.data(), 4, 6, 10}; });
    expect_no_output_over("alibi_slopes", floats_at(3), [](Call& c) { c.options.alibi_slopes = {c.floats.data(), 4}; });
    expect_no_output_over("sink", floats_at(3), [](Call& c) { c.options.sink = {c.floats.data(), 4}; });
    expect_no_output_over(
        "mask", [](Call& c) { return reinterpret_cast<float*>(c.bools.get() + 56); },
        [](Call& c) {
            c.options.mask = {c.bools.get(), 1, 6, 10};
        });
    expect_no_output_over("segment_q", integers, [](Call& c) {
        c.options.segment_q = {c.integers.data(), 6}, c.options.segment_k = {c.integers.data() + 500, 10};
    });
    expect_no_output_over("segment_k", integers, [](Call& c) {
        c.options.segment_q = {c.integers.data() + 500, 6}, c.options.segment_k = {c.integers.data(), 10};
    });
    expect_no_output_over(
        "block_table", [](Call& c) { return reinterpret_cast<float*>(c.table.data() + 8); },
        [](Call& c) { c.use_pages(); });
    expect_no_output_over(
        "lengths", [](Call& c) { return reinterpret_cast<float*>(c.lengths.data() + 2); },
        [](Call& c) { c.use_pages(); });
    expect_no_output_over(
        "q_lengths", [](Call& c) { return reinterpret_cast<float*>(c.q_lengths.data() + 2); },
        [](Call& c) { c.use_pages(); });
    expect_no_output_over(
        "positions", [](Call& c) { return reinterpret_cast<float*>(c.table.data() + 9); },
        [](Call& c) {
            c.table.assign(10, 0);
            c.kv.positions = c.table.data();
            c.kv.positions_stride = 10;
        });
    expect_no_output_over("bias", floats_at(17), [](Call& c) {
        static std::vector<attenta::FloatMatrices> biases;
        c.use_pages();
        biases = {{}, {}, {c.floats.data(), 1, 3, 6}};
        c.options.biases = biases;
    });
}

TEST(SoftmaxErrors, TheSecondPassRefusesToWriteOverItsInputs) {
    Call c;
    const auto at = [](float* p) { return reinterpret_cast<attenta::RowStatistics*>(p); };
    const attenta::RowStatistics* statistics = at(c.floats.data());
    const auto weights = [&](attenta::Heads<float> o) {
        return [&, o] { attenta::softmax_weights(c.q, c.kv, statistics, {}, o, c.options); };
    };
    attenta::Heads<float> over = c.o, null = c.o;
    over.data = c.floats.data() + 23;
    null.data = nullptr;
    EXPECT_TRUE(refuses(weights(over), {"softmax_weights", "o", "statistics"}));
    EXPECT_TRUE(refuses(weights(null), {"softmax_weights", "o", "null"}));
    over.data = c.floats.data() + 3;
    std::vector<attenta::RowStatistics> apart(64);
    statistics = apart.data();
    c.options.sink = {c.floats.data(), 4};
    EXPECT_TRUE(refuses(weights(over), {"softmax_weights", "o", "sink"}));
    EXPECT_TRUE(refuses([&] { attenta::softmax_statistics(c.q, c.kv, at(c.floats.data() + 3), c.options); },
                        {"softmax_statistics", "statistics", "sink"}));
    EXPECT_TRUE(refuses([&] { attenta::softmax_weights(c.q, c.kv, statistics, {attenta::ScoreEdit{}}); },
                        {"softmax_weights", "weight_edits", "0", "empty"}));
}

TEST(SoftmaxErrors, TensorsOfFourAxes) {
    Call c;
    c.use_pages();
    std::vector<float> q(3 * 4 * 2 * 16), o(3 * 4 * 2 * 24, 7), lse(3 * 4 * 2, 7);
    o.reserve(1000);
    const auto in = attenta::bhnd<const float>(q.data(), 3, 4, 2, 16);
    const auto out = attenta::bhnd(o.data(), 3, 4, 2, 24);
    const auto call = [&](attenta::HeadsBatch<const float> from, attenta::HeadsBatch<float> to, float* sums) {
        return [&, from, to, sums] { attenta::softmax_attention(from, c.kv, to, c.options, sums); };
    };
    const auto with = [](auto x, auto member, auto value) {
        x.*member = value;
        return x;
    };
    using In = attenta::HeadsBatch<const float>;
    using Out = attenta::HeadsBatch<float>;
    EXPECT_TRUE(refuses(call(with(in, &In::batch, 2), with(out, &Out::batch, 2), nullptr), {"q", "2", "3"}));
    EXPECT_TRUE(refuses(call(with(in, &In::batch, -1), out, nullptr), {"q", "-1", "3"}));
    EXPECT_TRUE(refuses(call(in, with(out, &Out::batch, 2), nullptr), {"o", "2", "3"}));
    EXPECT_TRUE(refuses(call(in, with(out, &Out::tokens, 3), nullptr), {"o", "3", "2"}));
    EXPECT_TRUE(refuses(call(with(in, &In::heads, 5), with(out, &Out::heads, 5), nullptr), {"q", "5"}));
    EXPECT_TRUE(refuses(call(in, with(out, &Out::data, q.data() + 3 * 4 * 2 * 16 - 1), nullptr), {"o", "q"}));
    EXPECT_TRUE(refuses(call(in, out, o.data() + 3 * 4 * 2 * 24 - 1), {"lse", "o"}));
    EXPECT_TRUE(refuses(call(in, out, q.data() + 3 * 4 * 2 * 16 - 1), {"lse", "q"}));
    for (const std::int64_t n : {std::int64_t{-1}, std::int64_t{1} << 31, std::numeric_limits<std::int64_t>::max()})
        EXPECT_TRUE(refuses(call(with(in, &In::tokens, n), with(out, &Out::tokens, n), nullptr), {"q"}));
    EXPECT_EQ(o, std::vector<float>(o.size(), 7));
    EXPECT_EQ(lse, std::vector<float>(lse.size(), 7));
    call(in, out, lse.data())();
}

/// A row of the buffer, in units of a head's 16 floats, holds q, what lies between, and o; tokens follow each other.
TEST(SoftmaxErrors, OutputsBetweenTheRowsOfInputsAreGood) {
    constexpr std::int64_t heads = 4, tokens = 6, dim = 16;
    std::vector<float> memory(heads * tokens * dim * 3 + dim);
    Call c;
    c.kv.v.dim = dim;
    const auto call = [&](std::int64_t o_at, std::int64_t head_stride, std::int64_t token_stride) {
        return [=, &c, &memory] {
            const attenta::Heads<float> q{memory.data(), heads, tokens, dim, head_stride, token_stride};
            attenta::Heads<float> o = q;
            o.data += o_at;
            attenta::softmax_attention(q, c.kv, o, c.options);
        };
    };
    call(heads * dim, dim, 2 * heads * dim)();      // [token, q or o, head, dim]
    call(2 * heads * dim, dim, 3 * heads * dim)();  // [token, q, other or o, head, dim]
    call(dim, 2 * dim, 2 * heads * dim)();          // [token, head, q or o, dim]
    call(tokens * dim, 2 * tokens * dim, dim)();    // [head, q or o, token, dim]
    call(dim, 2 * tokens * dim, 2 * dim)();         // [head, token, q or o, dim]
    EXPECT_TRUE(refuses(call(heads * dim - 1, dim, 2 * heads * dim), {"o", "q"}));
    EXPECT_TRUE(refuses(call(heads * dim + 1, dim, 2 * heads * dim), {"o", "q"}));  // the last row meets the next q
    EXPECT_TRUE(refuses(call(0, dim, 2 * heads * dim), {"o", "q"}));
    EXPECT_TRUE(refuses(call(2 * heads * dim, dim, 2 * heads * dim), {"o", "q"}));
    EXPECT_TRUE(refuses(call(dim - 1, 2 * dim, 2 * heads * dim), {"o", "q"}));
    EXPECT_TRUE(refuses(call(dim, dim, 2 * heads * dim), {"o", "q"}));
}

TEST(SoftmaxErrors, OutputsRightBesideInputsAreGood) {
    std::vector<float> memory(4 * 6 * 16 + 4 * 6 * 24 + 4 * 6);
    Call c;
    c.q = attenta::hnd<const float>(memory.data(), 4, 6, 16);
    c.o = attenta::hnd(memory.data() + 4 * 6 * 16, 4, 6, 24);
    c.lse = memory.data() + 4 * 6 * 16 + 4 * 6 * 24;
    c.run();
}

TEST(SoftmaxErrors, APlanRefusesWithoutSpoilingTheContext) {
    Case good({4, 2, 6, 10, 16, 24});
    attenta::Context context;
    const Output before = attend(good, context);
    good.options.window_left = -9;
    EXPECT_THROW(attend(good, context), attenta::Error);
    good.options.window_left = -1;
    EXPECT_TRUE(same_bits(attend(good, context), before));
}

}  // namespace
}  // namespace attenta_test
