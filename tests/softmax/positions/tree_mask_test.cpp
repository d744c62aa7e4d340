#include <attenta/softmax/positions/tree_mask.hpp>

#include <numeric>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::TreeMaskInputs, attenta::TreeMaskOptions;

std::int64_t depth(std::span<const std::int64_t> parent, std::int64_t n) {
    std::int64_t d = 0;
    for (n = parent[static_cast<std::size_t>(n)]; n >= 0; n = parent[static_cast<std::size_t>(n)]) ++d;
    return d;
}

/// Node n sees the context, its ancestors and itself, as far as its window reaches.
bool sees(const TreeMaskInputs& x, const TreeMaskOptions& o, std::int64_t n, std::int64_t j) {
    const std::int64_t context = x.kv.length(0) - x.q.tokens;
    const std::int64_t position = j < context ? j : context + depth(x.parent, j - context);
    if (o.window_left >= 0 && position < context + depth(x.parent, n) - o.window_left) return false;
    if (j < context) return true;
    for (std::int64_t a = n; a >= 0; a = x.parent[static_cast<std::size_t>(a)])
        if (a == j - context) return true;
    return false;
}

Naive definition(const TreeMaskInputs& x, const TreeMaskOptions& o) {
    const View k = k_of(x.kv);
    const std::int64_t Hq = x.q.heads;
    NaiveAttention attention{.score =
                                 [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                                     return naive_scale(o.scale, x.q.dim) *
                                            naive_dot(wide(x.q.row(h, i), x.q.dim),
                                                      wide(k.row(h / (Hq / k.heads), j), k.dim));
                                 },
                             .sees = [&](std::int64_t, std::int64_t i, std::int64_t j) { return sees(x, o, i, j); }};
    if (!x.sink.empty())
        attention.extra = [&](std::int64_t h, std::int64_t) { return double{x.sink[static_cast<std::size_t>(h)]}; };
    return attention(Hq, x.q.tokens, v_of(x.kv));
}

void put_tree(AttentionCase& c, std::int64_t farthest) {
    std::vector<std::int64_t> parent;
    for (std::int64_t n = 0; n < c.shape.Tq; ++n)
        parent.push_back(c.random.integer(std::max<std::int64_t>(n - farthest, -1), n - 1));
    c.put_integers("parent", std::move(parent));
}

const auto& mechanism = test_attention<&attenta::tree_mask, &definition>(
    {.name = "tree_mask",
     .variants = {{"window", [](AttentionCase& c) { options_of<TreeMaskOptions>(c).window_left = 5; }},
                  {"window of the node alone",
                   [](AttentionCase& c) { options_of<TreeMaskOptions>(c).window_left = 0; }},
                  {"scale", [](AttentionCase& c) { options_of<TreeMaskOptions>(c).scale = 0.7f; }}},
     .fill =
         [](AttentionCase& c) {
             put_tree(c, c.shape.Tq % 2 == 0 ? 3 : 1000);
             if (c.shape.Hq == 8 || options_of<TreeMaskOptions>(c).window_left == 5) c.put("sink", 1, 1, c.shape.Hq, 2);
         },
     .keys_in_any_order = false,
     .more_queries_than_keys = false});

/// Word boundaries of the rows of bits, with and without context.
TEST(TreeMask, HoldsForManyNodes) {
    for (const std::int64_t nodes : {63, 64, 65, 128, 200})
        for (const std::int64_t context : {0, 1, 63, 77, 300}) {
            const AttentionCase c = attention_case(mechanism, {2, 1, nodes, nodes + context, 8, 8}, 0, 3);
            SCOPED_TRACE(c.words);
            Output got = output_of(c);
            Context own;
            call(c, got, own);
            EXPECT_TRUE(close(got, mechanism.naive(c)));
        }
}

TEST(TreeMask, ChainIsCausalAttention) {
    AttentionCase c = attention_case(mechanism, {4, 2, 33, 70, 16, 8});
    std::vector<std::int64_t> chain(33);
    std::iota(chain.begin(), chain.end(), -1);
    c.put_integers("parent", chain);
    on_every_isa([&](Context& context) {
        Output got = output_of(c), want = output_of(c);
        call(c, got, context);
        attenta::softmax_attention(c.view("q"), c.view("k"), c.view("v"), want.o.view(), {.causal = true},
                                   want.lse.data(), context);
        EXPECT_LT(distance(got, want), 1e-6);
    });
}

/// Roots are decodes of their own on one context.
TEST(TreeMask, GivesPositionsAndTree) {
    AttentionCase c = attention_case(mechanism, {2, 1, 70, 90, 8, 8}, 1);
    options_of<TreeMaskOptions>(c).window_left = 3;
    const auto x = inputs_of<TreeMaskInputs>(c);
    Output got = output_of(c);
    std::vector<std::int64_t> position(70);
    const auto tree = std::make_unique<bool[]>(70 * 70);
    attenta::TreeMaskOutputs out;
    out.o = got.o.view();
    out.position = position.data();
    out.tree = tree.get();
    attenta::tree_mask(x, out, options_of<TreeMaskOptions>(c));
    for (std::int64_t n = 0; n < 70; ++n) {
        EXPECT_EQ(position[static_cast<std::size_t>(n)], 20 + depth(x.parent, n));
        for (std::int64_t m = 0; m < 70; ++m)
            EXPECT_EQ(tree[static_cast<std::size_t>(n * 70 + m)], sees(x, {.window_left = 3}, n, 20 + m))
                << n << ' ' << m;
    }
}

/// A ring has the context in any order; the last slots are the nodes', which stand behind its newest token.
TEST(TreeMask, PositionsOfACacheCount) {
    AttentionCase c = attention_case(mechanism, {2, 1, 6, 26, 8, 8});
    std::vector<std::int32_t> positions(26);
    for (std::size_t i = 0; i < 20; ++i) positions[i] = static_cast<std::int32_t>(119 - (i * 7) % 20);
    KvView kv = KvView::of(c.view("k"), c.view("v"));
    kv.positions = positions.data();
    kv.positions_stride = 26;
    c.caches.insert_or_assign("k", kv);
    options_of<TreeMaskOptions>(c).window_left = 4;
    const auto x = inputs_of<TreeMaskInputs>(c);
    NaiveAttention attention{
        .score =
            [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                return naive_dot(wide(x.q.row(h, i), 8), wide(c.view("k").row(0, j), 8)) / std::sqrt(8.0);
            },
        .sees =
            [&](std::int64_t, std::int64_t i, std::int64_t j) {
                const std::int64_t at = 120 + depth(x.parent, i);
                return j < 20 ? positions[static_cast<std::size_t>(j)] >= at - 4 : sees(x, {.window_left = 4}, i, j);
            }};
    Output got = output_of(c);
    std::vector<std::int64_t> position(6);
    attenta::TreeMaskOutputs out;
    out.o = got.o.view(), out.lse = got.lse.data(), out.position = position.data();
    attenta::tree_mask(x, out, options_of<TreeMaskOptions>(c));
    EXPECT_TRUE(close(got, attention(2, 6, c.view("v"))));
    EXPECT_EQ(position[0], 120);
}

TEST(TreeMask, Refuses) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        AttentionCase c = attention_case(mechanism, {4, 2, 9, 40, 16, 24});
        spoil(c, c.integers.find("parent")->second.data);
        Output out = output_of(c);
        Context context;
        return refuses([&] { call(c, out, context); }, words);
    };
    using Parents = std::vector<std::int64_t>;
    EXPECT_TRUE(refused({"tree_mask", "parent", "3"}, [](AttentionCase&, Parents& p) { p[3] = 3; }));
    EXPECT_TRUE(refused({"tree_mask", "parent", "-2"}, [](AttentionCase&, Parents& p) { p[0] = -2; }));
    EXPECT_TRUE(refused({"tree_mask", "q", "9", "8"},
                        [](AttentionCase& c, Parents&) { c.view("k").tokens = c.view("v").tokens = 8; }));
    EXPECT_TRUE(refused({"tree_mask", "window_left", "-2"},
                        [](AttentionCase& c, Parents&) { options_of<TreeMaskOptions>(c).window_left = -2; }));
}

}  // namespace
}  // namespace attenta_test
