#include <attenta/sparse/patterns/local_chunk.hpp>

#include "exact_mask.hpp"
#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::LocalChunkOptions;

bool sees(const LocalChunkOptions& o, std::int64_t i, std::int64_t j) {
    const std::int64_t c = i / o.chunk;
    return c * o.chunk - o.overlap <= j && j < (c + 1) * o.chunk + o.overlap;
}

Naive naive_local_chunk(const attenta::LocalChunkInputs& x, const LocalChunkOptions& options) {
    return naive_where(x.q, x.kv, naive_scale(options.scale, x.q.dim),
                       [&](std::int64_t, std::int64_t i, std::int64_t j) { return sees(options, i, j); });
}

LocalChunkOptions& options(SparseCase& c) { return options_of<LocalChunkOptions>(c); }

const auto& mechanism = test_sparse<&attenta::local_chunk, naive_local_chunk>({
    .name = "local_chunk",
    .positions = attenta::Positions::same,
    .variants = {{"no overlap", [](SparseCase& c) { options(c).overlap = 0; }},
                 {"more overlap than chunk", [](SparseCase& c) { options(c).chunk = 7, options(c).overlap = 30; }},
                 {"single tokens", [](SparseCase& c) { options(c).chunk = 1, options(c).overlap = 0; }},
                 {"one chunk", [](SparseCase& c) { options(c).chunk = 4096, options(c).overlap = 1; }}},
    .causal = false,
});

TEST(LocalChunk, MaskIsExact) {
    for (const LocalChunkOptions o : {LocalChunkOptions{4, 0}, {5, 2}, {3, 7}, {1, 0}, {40, 5}})
        for (const std::int64_t first : {0, 9})
            expect_exact(attenta::local_chunk_mask(o), first, 22,
                         [&](std::int64_t i, std::int64_t j) { return sees(o, i, j); });
}

TEST(LocalChunk, MayBeWiderThanAnySequence) {
    expect_exact(attenta::local_chunk_mask({INT64_MAX, INT64_MAX}), 0, 9,
                 [](std::int64_t, std::int64_t) { return true; });
}

TEST(LocalChunk, ShowsItsPattern) {
    const auto lists = KeyLists::of(attenta::local_chunk_mask({4, 1}), {.queries = 10, .keys = 10, .query_block = 4});
    EXPECT_EQ(lists.text(), "head 0, queries 0-3: 0-4\nhead 0, queries 4-7: 3-8\nhead 0, queries 8-9: 7-9\n");
}

TEST(LocalChunkErrors, Options) {
    EXPECT_TRUE(refuses([] { attenta::local_chunk_mask({0, 5}); }, {"local_chunk", "chunk is 0", "at least 1"}));
    EXPECT_TRUE(refuses([] { attenta::local_chunk_mask({4, -1}); }, {"local_chunk", "overlap is -1", "at least 0"}));
}

}  // namespace
}  // namespace attenta_test
