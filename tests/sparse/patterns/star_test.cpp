#include <attenta/sparse/patterns/star.hpp>

#include "exact_mask.hpp"
#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::StarOptions;

bool sees(const StarOptions& o, std::int64_t i, std::int64_t j) {
    return j <= i &&
           (i >= o.context || i / o.block_size == j / o.block_size || j < o.anchor_size.value_or(o.block_size));
}

Naive naive_star(const attenta::StarInputs& x, const StarOptions& options) {
    return naive_where(x.q, x.kv, naive_scale(options.scale, x.q.dim),
                       [&](std::int64_t, std::int64_t i, std::int64_t j) { return sees(options, i, j); });
}

StarOptions& options(SparseCase& c) { return options_of<StarOptions>(c); }

const auto& mechanism = test_sparse<&attenta::star, naive_star>({
    .name = "star",
    .variants = {{"short anchor", [](SparseCase& c) { options(c).anchor_size = 3; }},
                 {"no anchor", [](SparseCase& c) { options(c).anchor_size = 0; }},
                 {"three hosts", [](SparseCase& c) { options(c).hosts = 3, options(c).anchor_size = 5; }},
                 {"more hosts than blocks", [](SparseCase& c) { options(c).hosts = INT64_MAX; }},
                 {"all tokens are context", [](SparseCase& c) { options(c).context = c.shape.Tk; }},
                 {"blocks of 32, two hosts", [](SparseCase& c) { options(c).block_size = 32, options(c).hosts = 2; }}},
    .sizes = [](SparseCase& c) { options(c).context = (4 * c.shape.Tk + 4) / 5, options(c).block_size = 9; },
    .everything = [](SparseCase& c) { options(c).block_size = 4096; },
});

TEST(Star, MaskIsExact) {
    for (const StarOptions& o : {StarOptions{17, 5}, {22, 5, 2}, {17, 4, 0}, {1, 3, 3}, {16, 4, 1}, {22, 40, 7}})
        for (const std::int64_t first : {0, 9})
            expect_exact(attenta::star_mask(o, 22), first, 22,
                         [&](std::int64_t i, std::int64_t j) { return sees(o, i, j); });
}

TEST(Star, HostsShareTheKeys) {
    for (const std::int64_t hosts : {1, 2, 3, 4, 5, 9}) {
        const StarOptions o{.context = 17, .block_size = 4, .hosts = hosts};
        std::int64_t next = 0;
        for (std::int64_t h = 0; h < hosts; ++h) {
            const attenta::Interval keys = attenta::star_host(o, 22, h);
            EXPECT_EQ(keys.begin, next) << hosts << " hosts";
            EXPECT_TRUE(keys.begin % 4 == 0 || keys.begin == 17);
            next = keys.end;
        }
        EXPECT_EQ(next, 22);
    }
    // The first ones have a block more.
    EXPECT_EQ(attenta::star_host({.context = 17, .block_size = 4, .hosts = 3}, 22, 0).end, 8);
    EXPECT_EQ(attenta::star_host({.context = 17, .block_size = 4, .hosts = 3}, 22, 1).end, 16);
}

TEST(StarErrors, Options) {
    const auto refused = [](const StarOptions& o, std::initializer_list<std::string_view> words) {
        return refuses([&] { attenta::star_mask(o, 22); }, words);
    };
    EXPECT_TRUE(refused({}, {"star", "context is 0", "1 to 22"}));
    EXPECT_TRUE(refused({.context = 23}, {"star", "context is 23", "1 to 22"}));
    EXPECT_TRUE(refused({.context = 9, .block_size = 0}, {"star", "block_size is 0", "at least 1"}));
    EXPECT_TRUE(refused({.context = 9, .block_size = 4, .anchor_size = 5}, {"star", "anchor_size is 5", "0 to 4"}));
    EXPECT_TRUE(refused({.context = 9, .block_size = 4, .anchor_size = -1}, {"star", "anchor_size is -1", "0 to 4"}));
    EXPECT_TRUE(refused({.context = 9, .hosts = 0}, {"star", "hosts is 0", "at least 1"}));
}

}  // namespace
}  // namespace attenta_test
