// Blocks, strides and budgets beyond any sequence are one block of all keys: attention is dense then, to the bit.
#include <attenta/attenta.hpp>
#include <attenta/sparse/indexers/dsa.hpp>
#include <attenta/sparse/indexers/msa.hpp>
#include <attenta/sparse/pages/moba.hpp>
#include <attenta/sparse/pages/nsa.hpp>
#include <attenta/sparse/pages/quest.hpp>
#include <attenta/sparse/pages/xattention.hpp>
#include <attenta/sparse/patterns/fixed.hpp>
#include <attenta/sparse/patterns/head_strides.hpp>
#include <attenta/sparse/patterns/local_global.hpp>
#include <attenta/sparse/patterns/star.hpp>
#include <attenta/sparse/patterns/strided.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "sparse/support/mechanism.hpp"
#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/shapes.hpp"

namespace attenta_test {
namespace {

using attenta::KeyLists, attenta::KvView;

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t beyond[] = {41, std::int64_t{1} << 31, std::int64_t{1} << 62, most - 1, most};

class SparseExtremes : public testing::Test {
protected:
    static constexpr std::int64_t heads = 4, tokens = 40, dim = 8;

    KvView kv() const { return KvView::of(k.view(), v.view()); }
    attenta::Matrices<const float> index_keys() const { return {ki.view().data, 1, tokens, dim}; }

    /// A call that gives what causal attention over all keys gives.
    template <class F>
    testing::AssertionResult is_dense(F&& call) const {
        Output want(heads, tokens, dim), got(heads, tokens, dim);
        attenta::softmax_attention(q.view(), kv(), want.o.view(), {.causal = true}, want.lse.data());
        call(attenta::SparseOutputs{got.o.view(), got.lse.data()});
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t t = 0; t < tokens; ++t)
                if (!same_bits(want.o.row(h, t), got.o.row(h, t), dim) || want.lse_at(h, t) != got.lse_at(h, t))
                    return testing::AssertionFailure() << "head " << h << ", query " << t;
        return testing::AssertionSuccess();
    }

    Random random{7};
    Tensor<float> q = random_tensor(random, heads, tokens, dim), k = random_tensor(random, 2, tokens, dim),
                  v = random_tensor(random, 2, tokens, dim), qi = random_tensor(random, 2, tokens, dim),
                  ki = random_tensor(random, 1, tokens, dim), gate = random_tensor(random, heads, tokens, 1);
};

TEST_F(SparseExtremes, BlocksOfAllKeys) {
    for (const std::int64_t size : beyond) {
        EXPECT_TRUE(is_dense([&](const auto& out) { attenta::moba({q.view(), kv()}, out, {.block_size = size}); }));
        EXPECT_TRUE(is_dense([&](const auto& out) { attenta::quest({q.view(), kv()}, out, {.page_size = size}); }));
        EXPECT_TRUE(is_dense([&](const auto& out) {
            attenta::msa({q.view(), kv(), qi.view(), index_keys()}, out, {.block_size = size});
        }));
        EXPECT_TRUE(is_dense([&](const auto& out) {
            attenta::xattention({q.view(), kv()}, {out}, {.stride = size, .block_size = size});
        }));
        EXPECT_TRUE(is_dense([&](const auto& out) {
            attenta::xattention({q.view(), kv()}, {out}, {.stride = 1, .block_size = size});
        }));
    }
}

TEST_F(SparseExtremes, WindowsOfAllKeys) {
    for (const std::int64_t size : beyond) {
        EXPECT_TRUE(is_dense([&](const auto& out) { attenta::strided({q.view(), kv()}, out, {.stride = size}); }));
        EXPECT_TRUE(is_dense([&](const auto& out) {
            attenta::strided({q.view(), kv()}, out, {.stride = 3, .window = size});
        }));
        EXPECT_TRUE(is_dense([&](const auto& out) { attenta::fixed({q.view(), kv()}, out, {.stride = size}); }));
    }
}

/// Where the budget is not less than what there is, nothing is left out: neither by scores of -inf nor by NaN.
TEST_F(SparseExtremes, BudgetsOfAllKeys) {
    for (std::int64_t c = 0; c < dim; ++c) {
        k.row(0, 3)[c] = 1e30f;
        k.row(1, 9)[c] = std::numeric_limits<float>::quiet_NaN();
        for (std::int64_t t = 0; t < tokens; ++t)
            for (std::int64_t h = 0; h < heads; ++h) q.row(h, t)[c] = -1e10f;
    }
    const auto leaves_out_nothing = [](const KeyLists& lists) {
        for (std::int64_t n = 0; n < lists.lists(); ++n)
            if (lists.keys_of(n) < n % tokens + 1) return testing::AssertionFailure() << "list " << n;
        return testing::AssertionSuccess();
    };
    KeyLists lists;
    attenta::moba_lists({q.view(), kv()}, lists, {.block_size = 4, .top_k = 10});
    EXPECT_TRUE(leaves_out_nothing(lists));
    attenta::quest_lists({q.view(), kv()}, lists, {.page_size = 4, .top_pages = most});
    EXPECT_TRUE(leaves_out_nothing(lists));
}

/// Of compressed blocks that are larger than the sequence there is none.
TEST_F(SparseExtremes, CompressedBlocksLargerThanTheSequence) {
    for (const std::int64_t size : beyond) {
        Output want(heads, tokens, dim), got(heads, tokens, dim), none(heads, tokens, dim);
        attenta::softmax_attention(q.view(), kv(), want.o.view(), {.causal = true});
        attenta::NsaOutputs out;
        out.o = none.o.view();
        out.o_slc = got.o.view();
        attenta::nsa({q.view(), kv(), gate.view(), gate.view(), gate.view()}, out,
                     {.cmp_size = size, .cmp_stride = 1, .slc_size = size});
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t t = 0; t < tokens; ++t)
                EXPECT_TRUE(same_bits(want.o.row(h, t), got.o.row(h, t), dim)) << size;
    }
}

/// Selections alone refuse what calls with attention refuse.
TEST_F(SparseExtremes, SelectionsAlone) {
    KeyLists lists;
    const std::vector<std::int32_t> lengths = {tokens, tokens};
    KvView two = kv();
    two.sequences = 2;
    two.lengths = lengths.data();
    EXPECT_TRUE(refuses([&] { attenta::moba_lists({q.view(), two}, lists); }, {"moba", "2 sequences"}));
    EXPECT_TRUE(refuses([&] { attenta::quest_lists({q.view(), two}, lists); }, {"quest", "2 sequences"}));
    EXPECT_TRUE(refuses([&] { attenta::xattention_lists({q.view(), two}, lists); }, {"xattention", "2 sequences"}));
    attenta::Matrices<const float> few = index_keys();
    few.rows = 20;
    attenta::Heads<const float> weights = qi.view();
    weights.dim = 1;  // of each head and query
    EXPECT_TRUE(refuses(
        [&] {
            attenta::dsa_lists({q.view(), kv(), qi.view(), few, weights}, lists);
        },
        {"dsa", "k_idx", "20", "40"}));
}

/// Outputs beside o and lse have memory of their own, too.
TEST_F(SparseExtremes, OutputsThatOverlap) {
    Tensor<float> memory(heads, tokens, tokens);
    const attenta::Heads<float> o = attenta::hnd(memory.view().data, heads, tokens, dim);
    attenta::Heads<const float> weights = qi.view();
    weights.dim = 1;
    attenta::DsaOutputs dsa;
    dsa.o = o;
    dsa.index_score = o.data;
    EXPECT_TRUE(refuses(
        [&] {
            attenta::dsa({q.view(), kv(), qi.view(), index_keys(), weights}, dsa);
        },
        {"dsa", "index_score", "overlaps", "o"}));
    attenta::XattentionOutputs xattention;
    xattention.o = o;
    xattention.block_share = k.view().data;
    EXPECT_TRUE(refuses(
        [&] {
            attenta::xattention({q.view(), kv()}, xattention);
        },
        {"xattention", "block_share", "overlaps", "k"}));
    attenta::NsaOutputs nsa;
    nsa.o = o;
    nsa.o_slc = nsa.o_win = attenta::hnd(memory.view().data + o.heads * tokens * dim, heads, tokens, dim);
    EXPECT_TRUE(refuses(
        [&] {
            attenta::nsa({q.view(), kv(), gate.view(), gate.view(), gate.view()}, nsa);
        },
        {"nsa", "o_win", "overlaps", "o_slc"}));
}

TEST_F(SparseExtremes, PatternsThatAreNone) {
    Output out(heads, tokens, dim);
    const attenta::SparseOutputs to{out.o.view()};
    EXPECT_TRUE(refuses(
        [&] {
            attenta::strided({q.view(), kv()}, to, {.pattern = attenta::StridedPattern{4}});
        },
        {"strided", "pattern", "4"}));
    EXPECT_TRUE(refuses(
        [&] {
            attenta::fixed({q.view(), kv()}, to, {.pattern = attenta::FixedPattern{4}});
        },
        {"fixed", "pattern", "4"}));
    EXPECT_TRUE(refuses(
        [&] {
            attenta::head_strides({q.view(), kv()}, to, {.mode = attenta::HeadStridesMode{2}});
        },
        {"head_strides", "mode", "2"}));
    EXPECT_TRUE(refuses([&] { attenta::local_global_mask({}, {.dilation = {}}); }, {"local_global", "dilation"}));
    EXPECT_TRUE(refuses([&] { attenta::local_global_mask({}, {.dilation = {0}}); }, {"local_global", "dilation", "0"}));
    EXPECT_TRUE(refuses([&] { attenta::star_host({.context = 1, .hosts = 0}, 1, 0); }, {"star", "hosts", "0"}));
    EXPECT_TRUE(refuses([&] { attenta::star_host({.context = 1, .hosts = 2}, 1, 2); }, {"star", "host", "2"}));
}

}  // namespace
}  // namespace attenta_test
