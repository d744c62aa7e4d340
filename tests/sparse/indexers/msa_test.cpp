#include <attenta/sparse/indexers/msa.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::MsaInputs, attenta::MsaOptions;

/// A block is worth the largest q_idx · k_idx of its keys j <= i; forced blocks are worth the most.
Naive naive_msa(const MsaInputs& x, const MsaOptions& options) {
    const std::int64_t first = x.kv.length(0) - x.q.tokens, size = options.block_size;
    return naive_over(x.q, x.kv, naive_scale(options.scale, x.q.dim), [&](std::int64_t h, std::int64_t row) {
        const std::int64_t i = first + row, own = i / size, index_head = h / (x.q.heads / x.q_idx.heads);
        std::vector<double> score;
        for (std::int64_t n = 0; n <= own; ++n) {
            double most = minus_infinity;
            for (const std::int64_t j : range(n * size, std::min((n + 1) * size, i + 1)))
                most = std::max(most, naive_dot(x.q_idx.row(index_head, row), x.k_idx.row(0, j), x.q_idx.dim));
            const bool forced = n < options.init_blocks || n > own - options.local_blocks;
            score.push_back(forced ? std::numeric_limits<double>::infinity() : most);
        }
        Keys keys;
        for (const std::int64_t n : best(score, options.top_k))
            for (const std::int64_t j : range(n * size, std::min((n + 1) * size, i + 1))) keys.push_back(j);
        return keys;
    });
}

MsaOptions& options(SparseCase& c) { return options_of<MsaOptions>(c); }

const auto& mechanism = test_sparse<&attenta::msa, naive_msa>({
    .name = "msa",
    .variants = {{"an index head per head", [](SparseCase& c) { c.sizes["Hi"] = c.shape.Hq; }},
                 {"one index head", [](SparseCase& c) { c.sizes["Hi"] = 1; }},
                 {"first and local blocks",
                  [](SparseCase& c) { options(c).init_blocks = 1, options(c).local_blocks = 2, options(c).top_k = 4; }},
                 {"nothing forced", [](SparseCase& c) { options(c).local_blocks = 0, options(c).top_k = 1; }},
                 {"blocks of one key", [](SparseCase& c) { options(c).block_size = 1, options(c).top_k = 9; }},
                 {"blocks of 32", [](SparseCase& c) { options(c).block_size = 32, options(c).top_k = 2; }}},
    .sizes =
        [](SparseCase& c) {
            c.sizes["Hi"] = c.shape.Hkv, c.sizes["Di"] = 12;
            options(c).block_size = 7, options(c).top_k = 3;
        },
    .everything = [](SparseCase& c) { options(c).top_k = 4096; },
    .select = Selection<&attenta::msa_lists>::call,
});

/// Heads of lists that neither divide those of K and V nor are a multiple of them.
TEST(Msa, TakesAnyDivisorOfTheHeads) {
    SparseCase c = sparse_case(mechanism, {12, 4, 9, 60, 16, 16});
    c.put("q_idx", 6, 9, 12);
    const Naive want = naive(c);
    Output got = output_of(c);
    Context context;
    KeyLists lists;
    call(c, got, context, &lists);
    EXPECT_TRUE(close(got, want));
    EXPECT_EQ(lists.shape().heads, 6);
}

TEST(MsaErrors, OptionsAndIndexHeads) {
    SparseCase c = sparse_case(mechanism, {4, 2, 5, 57, 16, 16});
    KeyLists lists;
    MsaInputs x = inputs_of<MsaInputs>(c);
    const auto refused = [&](const MsaOptions& o, std::initializer_list<std::string_view> words) {
        return refuses([&] { attenta::msa_lists(x, lists, o); }, words);
    };
    EXPECT_TRUE(refused({.block_size = 0}, {"msa", "block_size", "0", "1"}));
    EXPECT_TRUE(refused({.top_k = 0, .local_blocks = 0}, {"msa", "top_k", "0", "1"}));
    EXPECT_TRUE(refused({.top_k = 2, .local_blocks = 2, .init_blocks = 1}, {"msa", "top_k", "2", "3"}));
    EXPECT_TRUE(refused({.local_blocks = -1}, {"msa", "local_blocks", "-1", "0"}));
    EXPECT_TRUE(refused({.init_blocks = -1}, {"msa", "init_blocks", "-1", "0"}));
    x.k_idx.rows = 56;
    EXPECT_TRUE(refused({}, {"msa", "k_idx", "56", "57"}));
    x = inputs_of<MsaInputs>(c);
    c.put("q_idx", 3, 5, 12);
    x.q_idx = c.view("q_idx");
    EXPECT_TRUE(refused({}, {"msa", "q_idx", "3", "4"}));
}

}  // namespace
}  // namespace attenta_test
