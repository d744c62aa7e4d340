#include <attenta/sparse/pages/xattention.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::XattentionInputs, attenta::XattentionOptions;

/// A_mn of a head, [blocks of queries][blocks of keys]: tile by tile, from the scores of their antidiagonals.
std::vector<std::vector<double>> naive_share(const XattentionInputs& x, const XattentionOptions& o, std::int64_t h) {
    const View k = k_of(x.kv);
    const std::int64_t S = o.stride, size = o.block_size, Tq = x.q.tokens, Tk = k.tokens;
    std::vector<std::vector<double>> share(static_cast<std::size_t>((Tq + size - 1) / size),
                                           std::vector<double>(static_cast<std::size_t>((Tk + size - 1) / size)));
    for (std::int64_t a = 0; a * S < Tq; ++a) {
        std::vector<double> p;
        double most = minus_infinity, sum = 0;
        for (std::int64_t b = 0; b <= a + (Tk - Tq) / S; ++b) {
            double t = 0;
            for (std::int64_t r = 0; r < S; ++r)
                if (a * S + S - 1 - r < Tq && b * S + r < Tk)
                    t += naive_dot(x.q.row(h, a * S + S - 1 - r), k.row(h / (x.q.heads / k.heads), b * S + r), k.dim);
            p.push_back(t * naive_scale(o.scale, k.dim) / static_cast<double>(S) / double{o.norm});
            most = std::max(most, p.back());
        }
        for (double& t : p) sum += t = std::exp(t - most);
        for (std::size_t b = 0; b < p.size(); ++b)
            share[static_cast<std::size_t>(a * S / size)]
                 [b * static_cast<std::size_t>(S) / static_cast<std::size_t>(size)] += p[b] / sum;
    }
    return share;
}

/// Blocks 0 and own, then by share as long as what is taken is below the threshold.
Keys naive_blocks(const std::vector<double>& share, std::int64_t own, double threshold) {
    const double need = threshold * std::accumulate(share.begin(), share.end(), 0.0);
    Keys taken = range(0, 1);
    if (own > 0) taken.push_back(own);
    double have = 0;
    for (const std::int64_t b : taken) have += share[static_cast<std::size_t>(b)];
    while (have < need && static_cast<std::int64_t>(taken.size()) <= own) {
        std::vector<double> left(share.begin(), share.begin() + own + 1);
        for (const std::int64_t b : taken) left[static_cast<std::size_t>(b)] = minus_infinity;
        taken.push_back(best(left, 1).front());
        have += share[static_cast<std::size_t>(taken.back())];
    }
    return taken;
}

Naive naive_xattention(const XattentionInputs& x, const XattentionOptions& o) {
    const std::int64_t first = x.kv.length(0) - x.q.tokens, size = o.block_size;
    std::vector<std::vector<Keys>> blocks;  // of a head and block of queries
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        blocks.emplace_back();
        const float threshold = x.threshold.empty() ? o.threshold : x.threshold[static_cast<std::size_t>(h)];
        for (const auto& share : naive_share(x, o, h))
            blocks.back().push_back(
                naive_blocks(share, first / size + static_cast<std::int64_t>(blocks.back().size()), double{threshold}));
    }
    return naive_over(x.q, x.kv, naive_scale(o.scale, x.q.dim), [&](std::int64_t h, std::int64_t row) {
        Keys keys;
        for (const std::int64_t b : blocks[static_cast<std::size_t>(h)][static_cast<std::size_t>(row / size)])
            for (const std::int64_t j : range(b * size, std::min((b + 1) * size, first + row + 1))) keys.push_back(j);
        return keys;
    });
}

XattentionOptions& options(SparseCase& c) { return options_of<XattentionOptions>(c); }

const auto& mechanism = test_sparse<&attenta::xattention, naive_xattention>({
    .name = "xattention",
    .positions = attenta::Positions::same,
    .variants = {{"little and a norm",
                  [](SparseCase& c) { options(c).threshold = 0.3f, options(c).norm = 0.5f, options(c).scale = 1.f; }},
                 {"tiles of one token", [](SparseCase& c) { options(c).stride = 1; }},
                 {"tiles as large as blocks", [](SparseCase& c) { options(c).stride = 8; }},
                 {"blocks of 64", [](SparseCase& c) { options(c).stride = 4, options(c).block_size = 64; }},
                 {"a threshold per head",
                  [](SparseCase& c) {
                      c.put("threshold", 1, 1, c.shape.Hq);
                      for (std::int64_t h = 0; h < c.shape.Hq; ++h)
                          c.view("threshold").row(0, 0)[h] =
                              0.1f + 0.8f * static_cast<float>(h) / static_cast<float>(c.shape.Hq);
                  }}},
    .sizes = [](SparseCase& c) { options(c).stride = 4, options(c).block_size = 8, options(c).threshold = 0.7f; },
    .causal = false,  // all queries of a block read what the last ones like
    .outputs = {{"block_share", set_output<&attenta::XattentionOutputs::block_share>}},
    .select = Selection<&attenta::xattention_lists>::call,
});

/// Queries that follow blocks of earlier keys; the shares and lists that a call gives.
TEST(Xattention, FollowsEarlierKeys) {
    SparseCase c = sparse_case(mechanism, {4, 2, 35, 35, 16, 24});
    c.put("k", 2, 35 + 40, 16);
    c.put("v", 2, 35 + 40, 24);
    const auto x = inputs_of<XattentionInputs>(c);
    const Naive want = naive(c);
    on_every_isa([&](attenta::Context& context) {
        Output got = output_of(c);
        KeyLists lists;
        std::vector<float> share(4 * 5 * 10);
        attenta::xattention(x, {{got.o.view(), got.lse.data(), &lists}, share.data()}, options(c), context);
        EXPECT_TRUE(close(got, want));
        for (std::int64_t h = 0; h < 4; ++h) {
            const auto expected = naive_share(x, options(c), h);
            for (std::size_t m = 0; m < 5; ++m) {
                for (std::size_t n = 0; n < 10; ++n)
                    EXPECT_NEAR(double{share[(static_cast<std::size_t>(h) * 5 + m) * 10 + n]}, expected[m][n], 1e-5);
                const Keys blocks = naive_blocks(expected[m], 5 + static_cast<std::int64_t>(m), 0.7);
                std::int64_t keys = 0;
                for (const std::int64_t b : blocks) keys += std::min<std::int64_t>(8, 75 - b * 8);
                EXPECT_EQ(lists.keys_of(h * 5 + static_cast<std::int64_t>(m)), keys);
            }
        }
    });
}

/// Shares of many blocks come in ranges of queries.
TEST(Xattention, RanksManyBlocks) {
    SparseCase c = sparse_case(mechanism, {2, 1, 150, 150, 8, 8});
    const std::int64_t tokens = 2600;
    c.put("q", 2, tokens, 8);
    c.put("k", 1, tokens, 8, 1.5f);
    c.put("v", 1, tokens, 8);
    c.shape.Tq = c.shape.Tk = tokens;
    options(c) = {.stride = 1, .block_size = 2, .threshold = 0.5f};
    const auto x = inputs_of<XattentionInputs>(c);
    KeyLists lists;
    std::vector<float> share(2 * 1300 * 1300);
    attenta::xattention_lists(x, lists, options(c), attenta::default_context(), share.data());
    const auto expected = naive_share(x, options(c), 1);
    for (const std::size_t m : {std::size_t{0}, std::size_t{700}, std::size_t{1299}})
        for (std::size_t n = 0; n < 1300; ++n) EXPECT_NEAR(double{share[(1300 + m) * 1300 + n]}, expected[m][n], 1e-5);
    EXPECT_EQ(lists.lists(), 2 * 1300);
}

TEST(XattentionErrors, Options) {
    SparseCase c = sparse_case(mechanism, {4, 2, 32, 32, 16, 16});
    KeyLists lists;
    XattentionInputs x = inputs_of<XattentionInputs>(c);
    const auto refused = [&](const XattentionOptions& o, std::initializer_list<std::string_view> words) {
        return refuses([&] { attenta::xattention_lists(x, lists, o); }, words);
    };
    EXPECT_TRUE(refused({.stride = 0}, {"xattention", "stride", "0", "1"}));
    EXPECT_TRUE(refused({.stride = 4, .block_size = 0}, {"xattention", "block_size", "0", "1"}));
    EXPECT_TRUE(refused({.stride = 3, .block_size = 8}, {"xattention", "stride", "3", "8"}));
    for (const float bad : {0.f, -1.f, 1.5f, std::numeric_limits<float>::quiet_NaN()}) {
        EXPECT_TRUE(refused({.threshold = bad}, {"xattention", "threshold"}));
        c.put("threshold", 1, 1, 4);
        std::fill_n(c.view("threshold").data, 4, 1.f);
        c.view("threshold").data[2] = bad;
        x.threshold = {c.view("threshold").data, 4};
        EXPECT_TRUE(refused({}, {"xattention", "threshold"}));
        x.threshold = {};
    }
    for (const float bad : {0.f, -1.f, std::numeric_limits<float>::infinity()})
        EXPECT_TRUE(refused({.norm = bad}, {"xattention", "norm"}));
    x.q.tokens = 28;
    EXPECT_TRUE(refused({.stride = 4, .block_size = 8}, {"xattention", "4", "8"}));
    x.q.tokens = 32;
    x.threshold = {c.view("threshold").data, 3};
    EXPECT_TRUE(refused({}, {"xattention", "threshold", "3", "4"}));
}

}  // namespace
}  // namespace attenta_test
