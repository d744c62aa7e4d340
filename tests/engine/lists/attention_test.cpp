// Attention over lists of keys equals exact attention over those keys, in every schedule: few and many rows, lists of heads
// that are read as one, blocks the other way round, parts, batches, what keys bring along.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "sparse/support/naive.hpp"
#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"
#include "support/shapes.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::KeyLists, attenta::KvView;

struct Problem {
    explicit Problem(const Shape& s, std::uint64_t seed = 1)
        : shape(s),
          random(seed),
          q(random_tensor(random, s.Hq, s.Tq, s.D)),
          k(random_tensor(random, s.Hkv, s.Tk, s.D)),
          v(random_tensor(random, s.Hkv, s.Tk, s.Dv)) {}
    KvView kv() const { return KvView::of(k.view(), v.view()); }

    Shape shape;
    Random random;
    Tensor<float> q, k, v;
};

/// Blocks of `unit` keys, each with the chance `share`; now and then a list without any.
KeyLists draw(Problem& p, KeyLists::Shape shape, double share) {
    shape.queries = p.shape.Tq;
    shape.keys = p.shape.Tk;
    KeyLists lists(shape);
    for (std::int64_t n = 0; n < shape.heads * shape.rows(); ++n) {
        const bool empty = p.random.chance(0.05);
        for (std::int64_t key = 0; key < shape.keys; key += shape.unit)
            if (!empty && p.random.chance(share)) lists.add(key, std::min(shape.unit, shape.keys - key));
        lists.end_list();
    }
    return lists;
}

/// Number of the list of a head and query.
std::int64_t list_of(const KeyLists& lists, std::int64_t heads, std::int64_t h, std::int64_t i) {
    const KeyLists::Shape& s = lists.shape();
    return h / (heads / s.heads) * s.rows() + (s.query_step > 0 ? i % s.query_step : i / s.query_block);
}

Naive naive_lists(const Problem& p, const KeyLists& lists, bool causal) {
    const std::int64_t first = p.shape.Tk - p.shape.Tq;
    const double scale = 1 / std::sqrt(static_cast<double>(p.shape.D));
    Naive result = naive_result(p.q.view(), p.kv());
    for (std::int64_t h = 0; h < p.shape.Hq; ++h)
        for (std::int64_t i = 0; i < p.shape.Tq; ++i) {
            const std::int64_t n = list_of(lists, p.shape.Hq, h, i), kv_head = h / (p.shape.Hq / p.shape.Hkv);
            auto entry = static_cast<std::size_t>(lists.first_key(n));
            std::vector<std::vector<float>> scaled;
            std::vector<double> scores;
            for (const attenta::KeyRun& run : lists.runs(n))
                for (std::int64_t j = run.start; j < run.start + run.count; ++j, ++entry) {
                    if (causal && j > first + i) continue;
                    double s = scale * naive_dot(p.q.row(h, i), p.k.row(kv_head, j), p.shape.D);
                    if (!lists.key_gain.empty()) s *= double{lists.key_gain[entry]};
                    if (!lists.bias.empty()) s += double{lists.bias[entry]};
                    scores.push_back(s);
                    scaled.emplace_back(p.v.row(kv_head, j), p.v.row(kv_head, j) + p.shape.Dv);
                    if (!lists.value_gain.empty())
                        for (float& x : scaled.back()) x *= lists.value_gain[entry];
                }
            NaiveRow row;
            for (std::size_t e = 0; e < scores.size(); ++e) row.add(scores[e], scaled[e].data());
            row.finish(result, h, i);
        }
    return result;
}

void expect_lists(const Problem& p, const KeyLists& lists, bool causal) {
    SCOPED_TRACE(testing::Message() << p.shape << ", lists of " << lists.shape().heads << " heads, query block "
                                    << lists.shape().query_block << ", unit " << lists.shape().unit << ", causal "
                                    << causal);
    const Naive want = naive_lists(p, lists, causal);
    on_every_isa([&](attenta::Context& context) {
        Output got(p.shape.Hq, p.shape.Tq, p.shape.Dv);
        attenta::softmax_attention(p.q.view(), p.kv(), got.o.view(), {.causal = causal, .lists = {&lists, 1}},
                                   got.lse.data(), context);
        EXPECT_TRUE(close(got, want));
    });
}

const std::vector<Shape> shapes = {{1, 1, 1, 1, 8, 8},      {8, 2, 1, 300, 16, 24},   {4, 2, 3, 50, 7, 9},
                                   {4, 1, 70, 150, 20, 16}, {6, 3, 130, 140, 16, 16}, {4, 4, 90, 90, 33, 20}};

TEST(Lists, OfSingleKeys) {
    for (const Shape& s : shapes)
        for (const std::int64_t heads : {std::int64_t{1}, s.Hkv, s.Hq}) {
            Problem p(s, 3);
            expect_lists(p, draw(p, {.heads = heads}, 0.3), s.Tq % 2 == 0);
        }
}

TEST(Lists, OfBlocksForBlocksOfQueries) {
    for (const Shape& s : shapes)
        for (const std::int64_t heads : {std::int64_t{1}, s.Hkv, s.Hq})
            for (const std::int64_t query_block : {5, 64, 1000}) {
                Problem p(s, 5);
                expect_lists(p, draw(p, {.heads = heads, .query_block = query_block, .unit = 11}, 0.4), true);
            }
}

/// Blocks of 16 keys and more of single queries run from block to block.
TEST(Lists, OfBlocksForSingleQueries) {
    for (const Shape& s : {Shape{4, 1, 70, 150, 20, 16}, Shape{6, 3, 130, 140, 16, 24}, Shape{4, 4, 2100, 2100, 8, 8}})
        for (const std::int64_t heads : {std::int64_t{1}, s.Hkv, s.Hq})
            for (const std::int64_t query_block : {1, 3}) {
                Problem p(s, 7);
                expect_lists(p,
                             draw(p, {.heads = heads, .query_block = query_block, .unit = s.Tk > 1000 ? 512 : 16}, 0.3),
                             true);
            }
}

TEST(Lists, OfQueriesAStepApart) {
    for (const std::int64_t heads : {1, 2, 4})
        for (const std::int64_t step : {3, 64, 100}) {
            Problem p({4, 2, 90, 110, 16, 16}, 9);
            expect_lists(p, draw(p, {.heads = heads, .query_step = step}, 0.5), true);
        }
}

/// Long lists of few queries are cut into parts that merge.
TEST(Lists, ThatAreLong) {
    for (const std::int64_t heads : {1, 2, 8}) {
        Problem p({8, 2, 1, 20000, 16, 16}, 11);
        expect_lists(p, draw(p, {.heads = heads}, 0.2), false);
    }
}

TEST(Lists, WhoseKeysBringSomethingAlong) {
    for (const Shape& s : shapes)
        for (const std::int64_t query_block : {1, 64}) {
            Problem p(s, 13);
            KeyLists lists = draw(p, {.heads = s.Hkv, .query_block = query_block}, 0.4);
            for (std::int64_t n = 0; n < lists.size(); ++n) {
                lists.bias.push_back(p.random.normal());
                lists.key_gain.push_back(p.random.normal());
                lists.value_gain.push_back(p.random.normal());
            }
            expect_lists(p, lists, true);
            lists.bias.clear();
            expect_lists(p, lists, false);
            lists.key_gain.clear();
            expect_lists(p, lists, false);
        }
}

/// Sinks, windows, soft-caps and positions of slots count as without lists.
TEST(Lists, BesideOtherOptions) {
    Problem p({4, 2, 70, 130, 16, 16}, 15);
    const KeyLists lists = draw(p, {.heads = 2, .query_block = 1, .unit = 16}, 0.5);
    const std::vector<float> sink = {0.5f, -1, 2, 0};
    const attenta::SoftmaxOptions options{
        .causal = true, .window_left = 60, .softcap = 5, .sink = sink, .lists = {&lists, 1}};
    attenta::SoftmaxOptions dense = options;
    dense.lists = {};
    NaiveExtras extras;
    extras.visible = [&](const Pair& pair) {
        for (const attenta::KeyRun& run : lists.runs(list_of(lists, 4, pair.head, pair.query)))
            if (pair.key >= run.start && pair.key < run.start + run.count) return true;
        return false;
    };
    const Naive want = naive_softmax(p.q.view(), p.k.view(), p.v.view(), dense, extras);
    on_every_isa([&](attenta::Context& context) {
        Output got(4, 70, 16);
        attenta::softmax_attention(p.q.view(), p.kv(), got.o.view(), options, got.lse.data(), context);
        EXPECT_TRUE(close(got, want));
    });
}

/// A batch of problems, each with lists of its own: every one gives what it gives alone, to the bit, and that is the definition's.
void expect_batch(const std::vector<Problem>& problems, const std::vector<KeyLists>& lists) {
    std::vector<Sequence> sequences;
    std::vector<std::int32_t> lengths;
    std::int64_t tokens = 0;
    for (const Problem& p : problems) {
        sequences.push_back({p.k.view(), p.v.view()});
        lengths.push_back(static_cast<std::int32_t>(p.shape.Tq));
        tokens += p.shape.Tq;
    }
    const PagedPool<float> pool(sequences, 16, PageLayout::head_token);
    Tensor<float> q(4, tokens, 16);
    std::int64_t token = 0;
    for (const Problem& p : problems)
        for (std::int64_t t = 0; t < p.shape.Tq; ++t, ++token)
            for (std::int64_t h = 0; h < 4; ++h) std::copy_n(p.q.row(h, t), 16, q.row(h, token));
    on_every_isa([&](attenta::Context& context) {
        Output got(4, tokens, 16);
        attenta::softmax_attention(q.view(), lengths, pool.view(), got.o.view(), {.causal = true, .lists = lists},
                                   got.lse.data(), context);
        token = 0;
        for (std::size_t s = 0; s < problems.size(); ++s) {
            const Problem& p = problems[s];
            Output alone(4, p.shape.Tq, 16);
            attenta::softmax_attention(p.q.view(), p.kv(), alone.o.view(), {.causal = true, .lists = {&lists[s], 1}},
                                       alone.lse.data(), context);
            EXPECT_TRUE(close(alone, naive_lists(p, lists[s], true)));
            for (std::int64_t t = 0; t < p.shape.Tq; ++t, ++token)
                for (std::int64_t h = 0; h < 4; ++h) {
                    EXPECT_TRUE(same_bits(alone.o.row(h, t), got.o.row(h, token), 16)) << s << " " << h << " " << t;
                    EXPECT_EQ(alone.lse_at(h, t), got.lse_at(h, token));
                }
        }
    });
}

/// Each sequence of a batch has lists of its own, and its results do not depend on the others.
TEST(Lists, InBatches) {
    std::vector<Problem> problems;
    std::vector<KeyLists> lists;
    for (const Shape& s : {Shape{4, 2, 1, 900, 16, 16}, Shape{4, 2, 70, 80, 16, 16}, Shape{4, 2, 3, 40, 16, 16}}) {
        Problem& p = problems.emplace_back(s, 17 + problems.size());
        lists.push_back(draw(p, {.heads = 4}, 0.3));
    }
    expect_batch(problems, lists);
}

/// What keys bring along, and who of a group reads them, is not for sequences whose lists leave out nothing, and blocks run
/// the other way round whatever else is in the batch.
TEST(Lists, BringNothingToOtherSequences) {
    constexpr Shape of_sequences[] = {{4, 2, 3, 900, 16, 16}, {4, 2, 70, 160, 16, 16}, {4, 2, 2, 40, 16, 16}};
    for (const bool united : {false, true}) {
        std::vector<Problem> problems;
        std::vector<KeyLists> lists;
        for (const Shape& s : of_sequences) {
            Problem& p = problems.emplace_back(s, 29 + problems.size());
            const bool all = s.Tk == 900, blocks = s.Tk == 160;
            KeyLists& list = lists.emplace_back(draw(p, {.heads = 4, .unit = blocks ? 16 : 1}, all ? 1.1 : 0.4));
            if (all) list = KeyLists::of(attenta::Causal{}, list.shape());
            if (!all && !blocks && !united)
                for (std::vector<float>* x : {&list.bias, &list.key_gain, &list.value_gain})
                    for (std::int64_t n = 0; n < list.size(); ++n)
                        x->push_back(static_cast<float>(0.5 + p.random.uniform()));
        }
        expect_batch(problems, lists);
    }
}

/// A context keeps the memory of a schedule for the next call, and nothing else of it.
TEST(Lists, FindNothingOfTheCallBefore) {
    std::vector<Problem> problems;
    std::vector<KeyLists> lists;
    const auto add = [&](const Shape& s, const KeyLists::Shape& shape) -> KeyLists& {
        Problem& p = problems.emplace_back(s, 41 + problems.size());
        return lists.emplace_back(draw(p, shape, 0.4));
    };
    add({4, 2, 70, 150, 16, 16}, {.heads = 4, .unit = 16});  // chains
    add({4, 2, 3, 900, 16, 16}, {.heads = 4});               // united lists, in parts
    KeyLists& gains = add({4, 2, 2, 40, 16, 16}, {.heads = 2});
    gains.bias.assign(static_cast<std::size_t>(gains.size()), 0.7f);
    gains.key_gain = gains.value_gain = gains.bias;
    add({4, 2, 30, 50, 16, 16}, {.heads = 1, .query_step = 7});
    on_every_isa([&](attenta::Context& context) {
        const auto attend = [&](std::size_t i, Context& of) {
            const Problem& p = problems[i];
            Output out(4, p.shape.Tq, 16);
            attenta::softmax_attention(p.q.view(), p.kv(), out.o.view(), {.causal = true, .lists = {&lists[i], 1}},
                                       out.lse.data(), of);
            return out;
        };
        for (std::size_t before = 0; before < problems.size(); ++before)
            for (std::size_t i = 0; i < problems.size(); ++i) {
                attend(before, context);
                Context fresh(context.executor());
                EXPECT_TRUE(same_bits(attend(i, context), attend(i, fresh))) << before << " before " << i;
            }
    });
}

/// NaN stays in the rows that read it.
TEST(Lists, KeepNanInItsRows) {
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    for (const std::int64_t unit : {1, 16}) {
        Problem p({4, 2, 70, 96, 16, 16}, 19);
        const KeyLists lists = draw(p, {.heads = 4, .unit = unit}, 0.3);
        Output clean(4, 70, 16), got(4, 70, 16);
        const attenta::SoftmaxOptions options{.lists = {&lists, 1}};
        attenta::softmax_attention(p.q.view(), p.kv(), clean.o.view(), options, clean.lse.data());
        p.v.row(1, 33)[5] = nan;
        attenta::softmax_attention(p.q.view(), p.kv(), got.o.view(), options, got.lse.data());
        for (std::int64_t h = 0; h < 4; ++h)
            for (std::int64_t i = 0; i < 70; ++i) {
                bool reads = false;
                for (const attenta::KeyRun& run : lists.runs(list_of(lists, 4, h, i)))
                    reads = reads || (h >= 2 && 33 >= run.start && 33 < run.start + run.count);
                EXPECT_EQ(std::isnan(got.o.row(h, i)[5]), reads);
                for (std::int64_t c = 0; c < 16; ++c) {
                    if (c == 5 && reads) continue;
                    EXPECT_NEAR(double{got.o.row(h, i)[c]}, double{clean.o.row(h, i)[c]}, 1e-5);
                }
            }
    }
}

TEST(Lists, ThatDoNotFitAreRefused) {
    Problem p({4, 2, 3, 40, 16, 16});
    Output out(4, 3, 16);
    const auto call = [&](const KeyLists& lists, attenta::SoftmaxOptions options = {}) {
        return [&p, &out, &lists, options]() mutable {
            options.lists = {&lists, 1};
            attenta::softmax_attention(p.q.view(), p.kv(), out.o.view(), options);
        };
    };
    KeyLists good = draw(p, {.heads = 2}, 0.5);
    EXPECT_NO_THROW(call(good)());
    EXPECT_TRUE(refuses(call(draw(p, {.heads = 3}, 0.5)), {"softmax_attention", "lists", "3", "4"}));
    KeyLists other({.heads = 2, .queries = 2, .keys = 40});
    EXPECT_TRUE(refuses(call(other), {"lists", "queries", "2", "3"}));
    other.reset({.heads = 2, .queries = 3, .keys = 39});
    EXPECT_TRUE(refuses(call(other), {"lists", "keys", "39", "40"}));
    other.reset({.heads = 2, .queries = 3, .keys = 40});
    EXPECT_TRUE(refuses(call(other), {"lists", "0", "6"}));
    good.bias = {1};
    EXPECT_TRUE(refuses(call(good), {"lists", "biases", "1"}));
    good.bias.clear();
    const bool all = true;
    EXPECT_TRUE(refuses(call(good, {.mask = {&all, 1, 1, 1}}), {"lists", "mask"}));
}

}  // namespace
}  // namespace attenta_test
