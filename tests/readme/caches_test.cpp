// The page "Your cache, this line" of examples/README.md: every block, run on the same keys and values in another layout.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using namespace attenta;

constexpr std::int64_t heads = 3, tokens = 50, dim = 16, page_size = 8, pages = 12, layers = 2;

Case plain_case(std::uint64_t seed = 1) {
    Case c({6, heads, 5, tokens, dim, dim}, seed);
    c.options.causal = true;
    return c;
}

/// Room for a cache; what no token fills is NaN.
std::vector<float> room(std::int64_t elements) {
    return std::vector<float>(static_cast<std::size_t>(elements), std::numeric_limits<float>::quiet_NaN());
}

/// Element `at(head, token)` of `to` on becomes the row of x.
template <class At>
void fill(std::vector<float>& to, Heads<const float> x, At&& at) {
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t) std::copy_n(x.row(h, t), dim, to.data() + at(h, t));
}

testing::AssertionResult equals_plain(const Case& c, const KvView& kv) {
    Context context;
    return same_bits(attend(c, kv, context), attend(c, context));
}

TEST(Caches, TokenMajor) {
    const Case c = plain_case();
    std::vector<float> k_memory = room(tokens * heads * dim), v_memory = k_memory;
    const auto at = [](std::int64_t h, std::int64_t t) { return (t * heads + h) * dim; };
    fill(k_memory, c.k.view(), at), fill(v_memory, c.v.view(), at);
    const float *k = k_memory.data(), *v = v_memory.data();
#include "blocks/token_major.inc"
    EXPECT_TRUE(equals_plain(c, kv));
}

TEST(Caches, HeadMajorWithRoom) {
    const Case c = plain_case();
    const std::int64_t capacity = 64;
    std::vector<float> k_memory = room(heads * capacity * dim), v_memory = k_memory;
    const auto at = [&](std::int64_t h, std::int64_t t) { return (h * capacity + t) * dim; };
    fill(k_memory, c.k.view(), at), fill(v_memory, c.v.view(), at);
    const float *k = k_memory.data(), *v = v_memory.data();
#include "blocks/head_major_with_room.inc"
    EXPECT_TRUE(equals_plain(c, kv));
}

TEST(Caches, InterleavedKeysAndValues) {
    const Case c = plain_case();
    std::vector<float> memory = room(tokens * 2 * heads * dim);
    const auto at = [](std::int64_t h, std::int64_t t) { return (2 * t * heads + h) * dim; };
    fill(memory, c.k.view(), at);
    fill(memory, c.v.view(), [&](std::int64_t h, std::int64_t t) { return at(h, t) + heads * dim; });
    const float* rows = memory.data();
#include "blocks/interleaved_keys_and_values.inc"
    EXPECT_TRUE(equals_plain(c, kv));
}

TEST(Caches, KeysAndValuesOfAHeadSideBySide) {
    const Case c = plain_case();
    std::vector<float> memory = room(tokens * 2 * heads * dim);
    const auto at = [](std::int64_t h, std::int64_t t) { return (t * heads + h) * 2 * dim; };
    fill(memory, c.k.view(), at);
    fill(memory, c.v.view(), [&](std::int64_t h, std::int64_t t) { return at(h, t) + dim; });
    const float* rows = memory.data();
#include "blocks/keys_and_values_of_a_head_side_by_side.inc"
    EXPECT_TRUE(equals_plain(c, kv));
}

TEST(Caches, PaddedRows) {
    const Case c = plain_case();
    const std::int64_t row = 20;
    std::vector<float> k_memory = room(tokens * heads * row), v_memory = k_memory;
    const auto at = [&](std::int64_t h, std::int64_t t) { return (t * heads + h) * row; };
    fill(k_memory, c.k.view(), at), fill(v_memory, c.v.view(), at);
    const float *k = k_memory.data(), *v = v_memory.data();
#include "blocks/padded_rows.inc"
    EXPECT_TRUE(equals_plain(c, kv));
}

TEST(Caches, SomeOfTheHeads) {
    const Case c = plain_case();
    const std::int64_t all_heads = 7, first = 2;
    std::vector<float> k_memory = room(tokens * all_heads * dim), v_memory = k_memory;
    const auto at = [&](std::int64_t h, std::int64_t t) { return (t * all_heads + first + h) * dim; };
    fill(k_memory, c.k.view(), at), fill(v_memory, c.v.view(), at);
    const float *k = k_memory.data(), *v = v_memory.data();
#include "blocks/some_of_the_heads.inc"
    EXPECT_TRUE(equals_plain(c, kv));
}

/// A block table in disorder, and where it puts a token.
struct Table {
    const std::int32_t pages_of_sequence[8] = {9, 2, 11, 0, 5, 7, 3, -1}, lengths[1] = {tokens};

    std::int64_t page(std::int64_t token) const { return pages_of_sequence[token / page_size]; }
};
constexpr std::int64_t table_stride = 8;

TEST(Caches, PagesByToken) {
    const Case c = plain_case();
    const Table table;
    std::vector<float> k_memory = room(pages * page_size * heads * dim), v_memory = k_memory;
    const auto at = [&](std::int64_t h, std::int64_t t) {
        return ((table.page(t) * page_size + t % page_size) * heads + h) * dim;
    };
    fill(k_memory, c.k.view(), at), fill(v_memory, c.v.view(), at);
    const float *k_pool = k_memory.data(), *v_pool = v_memory.data();
    const std::int64_t sequences = 1;
    const std::int32_t *block_table = table.pages_of_sequence, *lengths = table.lengths;
#include "blocks/pages_by_token.inc"
    EXPECT_TRUE(equals_plain(c, kv));
}

TEST(Caches, PagesByHead) {
    const Case c = plain_case();
    const Table table;
    std::vector<float> k_memory = room(pages * page_size * heads * dim), v_memory = k_memory;
    const auto at = [&](std::int64_t h, std::int64_t t) {
        return ((table.page(t) * heads + h) * page_size + t % page_size) * dim;
    };
    fill(k_memory, c.k.view(), at), fill(v_memory, c.v.view(), at);
    const float *k_pool = k_memory.data(), *v_pool = v_memory.data();
    const std::int64_t sequences = 1;
    const std::int32_t *block_table = table.pages_of_sequence, *lengths = table.lengths;
#include "blocks/pages_by_head.inc"
    EXPECT_TRUE(equals_plain(c, kv));
}

TEST(Caches, PagesOfKeysAndValues) {
    const Case c = plain_case();
    const Table table;
    std::vector<float> memory = room(pages * 2 * page_size * heads * dim);
    const auto at = [&](std::int64_t h, std::int64_t t) {
        return ((table.page(t) * 2 * page_size + t % page_size) * heads + h) * dim;
    };
    fill(memory, c.k.view(), at);
    fill(memory, c.v.view(), [&](std::int64_t h, std::int64_t t) { return at(h, t) + page_size * heads * dim; });
    const float* pool = memory.data();
    const std::int64_t sequences = 1;
    const std::int32_t *block_table = table.pages_of_sequence, *lengths = table.lengths;
#include "blocks/pages_of_keys_and_values.inc"
    EXPECT_TRUE(equals_plain(c, kv));
}

TEST(Caches, ABatchInRowsOfACapacity) {
    const Case c = plain_case();
    const std::int64_t capacity = 64, sequences = 2;  // the first sequence is empty and asks nothing
    const std::int32_t lengths[] = {0, tokens}, starts[] = {0, capacity}, q_lengths[] = {0, 5};
    std::vector<float> k_memory = room(sequences * capacity * heads * dim), v_memory = k_memory;
    const auto at = [&](std::int64_t h, std::int64_t t) { return ((capacity + t) * heads + h) * dim; };
    fill(k_memory, c.k.view(), at), fill(v_memory, c.v.view(), at);
    const float *k = k_memory.data(), *v = v_memory.data();
#include "blocks/a_batch_in_rows_of_a_capacity.inc"
    Output out(c.shape.Hq, c.shape.Tq, dim);
    Context context;
    softmax_attention(c.q.view(), q_lengths, kv, out.o.view(), c.options, out.lse.data(), context);
    EXPECT_TRUE(same_bits(out, attend(c, context)));
}

/// The newest tokens wrap around: those of the plain case that the ring holds are compared.
TEST(Caches, Ring) {
    Case c = plain_case();
    const std::int64_t slots = 40, sink = 4, seen = tokens;
    c.options.causal = false;
    c.options.visible = Causal{} && (Window{slots - sink - c.shape.Tq, -1} || Global{sink});
    std::vector<float> k_memory = room(slots * heads * dim), v_memory = k_memory;
    const auto at = [&](std::int64_t h, std::int64_t t) {
        return (KvView::ring_slot(t, slots, sink) * heads + h) * dim;
    };
    fill(k_memory, c.k.view(), at), fill(v_memory, c.v.view(), at);
    std::vector<std::int32_t> positions(slots);
    const float *k = k_memory.data(), *v = v_memory.data();
#include "blocks/ring.inc"
    Context context;
    EXPECT_LE(distance(attend(c, kv, context), attend(c, context)), 2e-5);
}

/// Keys and values of two layers in one pool of each, layer after layer, and the results of plain calls.
struct Layers {
    std::vector<Case> cases;
    std::vector<Output> want, got;
    std::vector<Heads<float>> o;

    Layers() {
        for (std::uint64_t l = 0; l < layers; ++l) {
            cases.push_back(plain_case(l + 1));
            cases[l].q = converted<float>(cases[0].q.view());
            cases[l].options = {};
            Context context;
            want.push_back(attend(cases[l], context));
            got.emplace_back(6, 5, dim);
            o.push_back(got[l].o.view());
        }
    }
    Heads<const float> q() const { return cases[0].q.view(); }
    void expect_same() const {
        for (std::size_t l = 0; l < layers; ++l)
            want[l].o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
                EXPECT_TRUE(same_bits(row, got[l].o.row(h, t), dim)) << "layer " << l;
            });
    }
};

TEST(Caches, OnePerLayer) {
    Layers x;
    std::vector<std::vector<float>> k_memory(layers, room(tokens * heads * dim)), v_memory = k_memory;
    const auto at = [](std::int64_t h, std::int64_t t) { return (t * heads + h) * dim; };
    const float *k[layers], *v[layers];
    for (std::size_t l = 0; l < layers; ++l) {
        fill(k_memory[l], x.cases[l].k.view(), at), fill(v_memory[l], x.cases[l].v.view(), at);
        k[l] = k_memory[l].data(), v[l] = v_memory[l].data();
    }
    const Heads<const float> q = x.q();
    const Heads<float>* o = x.o.data();
    const auto plan = plan_softmax(q, {}, KvView::of(nhd(k[0], tokens, heads, dim), nhd(v[0], tokens, heads, dim)));
    {
#include "blocks/one_per_layer.inc"
    }

    x.expect_same();
}

TEST(Caches, AllLayersInOnePool) {
    Layers x;
    const Table table;
    std::vector<float> k_memory = room(layers * pages * page_size * heads * dim), v_memory = k_memory;
    for (std::int64_t l = 0; l < layers; ++l) {
        const auto at = [&](std::int64_t h, std::int64_t t) {
            return (((l * pages + table.page(t)) * page_size + t % page_size) * heads + h) * dim;
        };
        const Case& c = x.cases[static_cast<std::size_t>(l)];
        fill(k_memory, c.k.view(), at), fill(v_memory, c.v.view(), at);
    }
    const float *k_pool = k_memory.data(), *v_pool = v_memory.data();
    const std::int64_t sequences = 1;
    const std::int32_t *block_table = table.pages_of_sequence, *lengths = table.lengths;
    const Heads<const float> q = x.q();
    const std::vector<std::int32_t> q_lengths = {5};
    Heads<float>* o = x.o.data();
#include "blocks/all_layers_in_one_pool.inc"
    x.expect_same();
}

}  // namespace
}  // namespace attenta_test
