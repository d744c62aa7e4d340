#include <attenta/sparse/patterns/block_rag.hpp>

#include "exact_mask.hpp"
#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::BlockRagOptions;

bool sees(std::span<const std::int64_t> starts, std::int64_t i, std::int64_t j) {
    const auto block = [&](std::int64_t t) {
        return std::count_if(starts.begin(), starts.end(), [&](std::int64_t start) { return start <= t; });
    };
    return j <= i && (block(i) == block(j) || block(i) == static_cast<std::int64_t>(starts.size()));
}

Naive naive_block_rag(const attenta::BlockRagInputs& x, const BlockRagOptions& options) {
    return naive_where(x.q, x.kv, naive_scale(options.scale, x.q.dim),
                       [&](std::int64_t, std::int64_t i, std::int64_t j) { return sees(x.block_starts, i, j); });
}

/// Blocks of the same length.
std::vector<std::int64_t> starts_of(std::int64_t keys, std::int64_t length) {
    std::vector<std::int64_t> starts;
    for (std::int64_t t = 0; t < keys; t += length) starts.push_back(t);
    return starts;
}

const auto& mechanism = test_sparse<&attenta::block_rag, naive_block_rag>({
    .name = "block_rag",
    .variants = {{"single tokens", [](SparseCase& c) { c.sizes["length"] = 1; }},
                 {"a long last block", [](SparseCase& c) { c.sizes["length"] = c.shape.Tk / 2 + 1; }},
                 {"one block", [](SparseCase& c) { c.sizes["length"] = c.shape.Tk; }}},
    .sizes = [](SparseCase& c) { c.sizes["length"] = 11; },
    .fill = [](SparseCase& c) { c.put_integers("block_starts", starts_of(c.shape.Tk, c.sizes["length"])); },
    .everything = [](SparseCase& c) { c.put_integers("block_starts", std::vector<std::int64_t>{0}); },
});

TEST(BlockRag, MaskIsExact) {
    for (const std::vector<std::int64_t>& starts :
         {std::vector<std::int64_t>{0}, {0, 5, 6, 7, 15}, {0, 21}, {0, 1, 12}, starts_of(22, 1)})
        for (const std::int64_t first : {0, 9})
            expect_exact(attenta::block_rag_mask(starts, 22), first, 22,
                         [&](std::int64_t i, std::int64_t j) { return sees(starts, i, j); });
}

TEST(BlockRagErrors, Starts) {
    const auto refused = [](std::vector<std::int64_t> starts, std::initializer_list<std::string_view> words) {
        return refuses([&] { attenta::block_rag_mask(starts, 22); }, words);
    };
    EXPECT_TRUE(refused({}, {"block_rag", "block_starts", "no elements"}));
    EXPECT_TRUE(refused({1, 4}, {"block_rag", "block_starts[0] is 1", "needs 0"}));
    EXPECT_TRUE(refused({0, 4, 4}, {"block_rag", "block_starts[2] is 4", "5 to 21"}));
    EXPECT_TRUE(refused({0, 9, 4}, {"block_rag", "block_starts[2] is 4", "10 to 21"}));
    EXPECT_TRUE(refused({0, 22}, {"block_rag", "block_starts[1] is 22", "1 to 21"}));
    EXPECT_TRUE(refused({-1}, {"block_rag", "block_starts[0] is -1", "needs 0"}));
}

}  // namespace
}  // namespace attenta_test
