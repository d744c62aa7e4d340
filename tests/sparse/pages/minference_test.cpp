#include <attenta/sparse/pages/minference.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::MinferenceInputs, attenta::MinferenceOptions, attenta::MinferencePattern, attenta::MinferenceSelection;

struct NaiveLines {
    Keys columns, offsets;
};

NaiveLines naive_lines(const MinferenceInputs& x, const MinferenceOptions& o, std::int64_t h) {
    const View k = k_of(x.kv);
    const std::int64_t T = k.tokens, n = std::min(o.last_q, T);
    std::vector<double> column(static_cast<std::size_t>(T)), offset(static_cast<std::size_t>(T));
    for (std::int64_t i = T - n; i < T; ++i) {
        std::vector<double> a;
        double most = minus_infinity, sum = 0;
        for (std::int64_t j = 0; j <= i; ++j) {
            a.push_back(naive_scale(o.scale, k.dim) *
                        naive_dot(x.q.row(h, i), k.row(h / (x.q.heads / k.heads), j), k.dim));
            most = std::max(most, a.back());
        }
        for (double& s : a) sum += s = std::exp(s - most);
        for (std::int64_t j = 0; j <= i; ++j) {
            const double weight = a[static_cast<std::size_t>(j)] / sum;
            column[static_cast<std::size_t>(j)] += weight;
            offset[static_cast<std::size_t>(i - j)] += weight;
        }
    }
    constexpr double infinity = std::numeric_limits<double>::infinity();
    std::fill_n(column.begin(), std::min(o.sink, T), infinity);
    std::fill_n(offset.begin(), std::min(o.local, T), infinity);
    return {best(column, std::max(o.vertical_size, std::min(T, o.sink))),
            best(offset, std::max(o.slash_size, std::min(T, o.local)))};
}

bool has(const Keys& keys, std::int64_t j) { return std::binary_search(keys.begin(), keys.end(), j); }

/// Whether an offset shows key j to query i: exactly, or widened per block of queries.
bool on_slash(const Keys& offsets, std::int64_t block, std::int64_t i, std::int64_t j) {
    if (block == 1) return has(offsets, i - j);
    const std::int64_t e = (i / block + 1) * block;
    return std::any_of(offsets.begin(), offsets.end(), [&](std::int64_t o) {
        const std::int64_t t = std::max(e - o, block);
        return o < e && t - block <= j && j < t;
    });
}

/// Blocks of keys of each block of queries, by the dot product of means.
std::vector<Keys> naive_blocks(const MinferenceInputs& x, const MinferenceOptions& o, std::int64_t h) {
    const View k = k_of(x.kv);
    const std::int64_t T = k.tokens, size = o.block.value_or(64);
    const auto means = [&](const View& rows, std::int64_t head) {
        std::vector<std::vector<double>> all;
        for (std::int64_t first = 0; first < T; first += size) {
            std::vector<double>& mean = all.emplace_back(static_cast<std::size_t>(rows.dim));
            const Keys tokens = range(first, std::min(first + size, T));
            for (const std::int64_t t : tokens)
                for (std::size_t c = 0; c < mean.size(); ++c)
                    mean[c] += double{rows.row(head, t)[c]} / static_cast<double>(tokens.size());
        }
        return all;
    };
    const auto q = means(x.q, h), keys = means(k, h / (x.q.heads / k.heads));
    std::vector<Keys> chosen;
    for (std::size_t a = 0; a < q.size(); ++a) {
        std::vector<double> score;
        for (std::size_t b = 0; b <= a; ++b)
            score.push_back(std::inner_product(q[a].begin(), q[a].end(), keys[b].begin(), 0.0));
        chosen.push_back(best(score, o.top_k));
    }
    return chosen;
}

Naive naive_minference(const MinferenceInputs& x, const MinferenceOptions& o) {
    std::vector<NaiveLines> lines;
    std::vector<std::vector<Keys>> blocks;
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        lines.push_back(naive_lines(x, o, h));
        blocks.push_back(naive_blocks(x, o, h));
    }
    return naive_where(x.q, x.kv, naive_scale(o.scale, x.q.dim), [&](std::int64_t h, std::int64_t i, std::int64_t j) {
        const auto head = static_cast<std::size_t>(h);
        if (j > i) return false;
        if (o.pattern == MinferencePattern::a_shape) return j < o.sink || i - j < o.local;
        if (o.pattern == MinferencePattern::block_sparse) {
            const std::int64_t size = o.block.value_or(64);
            return has(blocks[head][static_cast<std::size_t>(i / size)], j / size);
        }
        return has(lines[head].columns, j) || on_slash(lines[head].offsets, o.block.value_or(1), i, j);
    });
}

MinferenceOptions& options(SparseCase& c) { return options_of<MinferenceOptions>(c); }

void set_blocks(SparseCase& c, std::int64_t block, std::int64_t top_k) {
    options(c) = {.pattern = MinferencePattern::block_sparse, .block = block, .top_k = top_k};
}

const auto& mechanism = test_sparse<&attenta::minference, naive_minference>({
    .name = "minference",
    .positions = attenta::Positions::same,
    .variants = {{"A shape",
                  [](SparseCase& c) { options(c) = {.pattern = MinferencePattern::a_shape, .sink = 3, .local = 9}; }},
                 {"A shape without a window",
                  [](SparseCase& c) { options(c) = {.pattern = MinferencePattern::a_shape, .sink = 3, .local = 0}; }},
                 {"offsets widened", [](SparseCase& c) { options(c).block = 8; }},
                 {"offsets in blocks of 40", [](SparseCase& c) { options(c).block = 40; }},
                 {"one block", [](SparseCase& c) { options(c).block = 1000, options(c).local = 0; }},
                 {"nothing forced",
                  [](SparseCase& c) {
                      options(c).sink = options(c).local = 0;
                      options(c).vertical_size = options(c).slash_size = 5;
                  }},
                 {"columns alone",
                  [](SparseCase& c) { options(c).vertical_size = 20, options(c).slash_size = options(c).local = 0; }},
                 {"offsets alone",
                  [](SparseCase& c) { options(c).sink = options(c).vertical_size = 0, options(c).slash_size = 70; }},
                 {"few queries look, scaled", [](SparseCase& c) { options(c).last_q = 1, options(c).scale = 0.5f; }},
                 {"blocks of 8", [](SparseCase& c) { set_blocks(c, 8, 3); }},
                 {"blocks of 32", [](SparseCase& c) { set_blocks(c, 32, 1); }}},
    .sizes =
        [](SparseCase& c) { options(c) = {.sink = 2, .local = 4, .vertical_size = 9, .slash_size = 8, .last_q = 13}; },
    .causal = false,  // the last queries decide what all read
    .everything = [](SparseCase& c) { set_blocks(c, 16, 4096); },
});

/// Masks on tiles far from the beginning, where most see no offset.
TEST(Minference, ReadsFewTilesOfMany) {
    for (const std::int64_t block : {1, 16, 50}) {
        SparseCase c = sparse_case(mechanism, {4, 2, 150, 150, 8, 8});
        const std::int64_t T = 700;
        c.put("q", 4, T, 8);
        c.put("k", 2, T, 8);
        c.put("v", 2, T, 8);
        c.shape.Tq = c.shape.Tk = T;
        options(c) = {.sink = 1, .local = 2, .vertical_size = 3, .slash_size = 4, .block = block};
        const Naive want = naive(c);
        on_every_isa([&](attenta::Context& context) {
            Output got = output_of(c);
            call(c, got, context);
            EXPECT_TRUE(close(got, want)) << "block " << block;
        });
    }
}

/// What was found can be kept, and read with again.
TEST(Minference, GivesAndTakesItsSelection) {
    for (const std::size_t variant : {std::size_t{0}, std::size_t{3}, std::size_t{10}}) {
        SparseCase c = sparse_case(mechanism, {4, 2, 90, 90, 16, 24}, variant);
        SCOPED_TRACE(c.words);
        MinferenceInputs x = inputs_of<MinferenceInputs>(c);
        Output want = output_of(c), got = output_of(c);
        MinferenceSelection found, alone;
        attenta::minference(x, {{want.o.view(), want.lse.data()}, &found}, options(c));
        attenta::minference_lists(x, alone, options(c));
        EXPECT_EQ(found.columns, alone.columns);
        EXPECT_EQ(found.offsets, alone.offsets);
        EXPECT_EQ(found.blocks.text(), alone.blocks.text());
        for (std::size_t h = 0; h < found.columns.size(); ++h) {
            const NaiveLines expected = naive_lines(x, options(c), static_cast<std::int64_t>(h));
            EXPECT_EQ(found.columns[h], expected.columns);
            EXPECT_EQ(found.offsets[h], expected.offsets);
        }
        x.selection = &found;
        attenta::minference(x, {{got.o.view(), got.lse.data()}}, options(c));
        EXPECT_TRUE(same_bits(want, got));
    }
}

TEST(MinferenceErrors, OptionsAndSelections) {
    SparseCase c = sparse_case(mechanism, {4, 2, 32, 32, 16, 16});
    MinferenceInputs x = inputs_of<MinferenceInputs>(c);
    Output out = output_of(c);
    const auto refused = [&](const MinferenceOptions& o, std::initializer_list<std::string_view> words) {
        const auto result = refuses([&] { attenta::minference(x, {{out.o.view()}}, o); }, words);
        const float fresh = untouched<float>();
        for (const float e : out.o.memory())
            if (!same_bits(&e, &fresh, 1)) return testing::AssertionFailure() << "o was written";
        return result;
    };
    EXPECT_TRUE(refused({.sink = -1}, {"minference", "sink", "-1", "0"}));
    EXPECT_TRUE(refused({.local = -1}, {"minference", "local", "-1", "0"}));
    EXPECT_TRUE(refused({.vertical_size = -1}, {"minference", "vertical_size", "-1", "0"}));
    EXPECT_TRUE(refused({.slash_size = -1}, {"minference", "slash_size", "-1", "0"}));
    EXPECT_TRUE(refused({.last_q = 0}, {"minference", "last_q", "0", "1"}));
    EXPECT_TRUE(refused({.block = 0}, {"minference", "block", "0", "1"}));
    EXPECT_TRUE(refused({.top_k = 0}, {"minference", "top_k", "0", "1"}));
    EXPECT_TRUE(refused({.pattern = static_cast<MinferencePattern>(3)}, {"minference", "pattern", "3", "a_shape"}));
    MinferenceSelection found;
    x.selection = &found;
    EXPECT_TRUE(refused({}, {"minference", "columns", "0", "4"}));
    found.columns.assign(4, {1, 5});
    found.offsets.assign(4, {0});
    found.offsets[2] = {32};
    EXPECT_TRUE(refused({}, {"minference", "offsets", "32", "31"}));
    found.offsets[2] = {4, 4};
    EXPECT_TRUE(refused({}, {"minference", "offsets", "4", "5", "31"}));
    EXPECT_TRUE(refused({.pattern = MinferencePattern::block_sparse}, {"minference", "lists"}));
    x.selection = nullptr;
    x.q.tokens = 31;
    EXPECT_TRUE(refuses([&] { attenta::minference_lists(x, found); }, {"minference", "q", "31", "32"}));
}

}  // namespace
}  // namespace attenta_test
