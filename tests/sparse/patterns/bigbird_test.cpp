#include <attenta/sparse/patterns/bigbird.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::BigbirdOptions;

Naive naive_bigbird(const attenta::BigbirdInputs& x, const BigbirdOptions& options) {
    const auto& random = x.rand_blocks;
    const std::int64_t blocks = (x.q.tokens + options.block - 1) / options.block, g = options.global_blocks;
    const auto edge = [&](std::int64_t b) { return b < g || b >= blocks - g; };
    return naive_where(x.q, x.kv, naive_scale(options.scale, x.q.dim),
                       [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                           const std::int64_t a = i / options.block, b = j / options.block;
                           if (edge(a) || edge(b) || std::abs(a - b) <= options.window_blocks / 2) return true;
                           if (!random.data) return false;
                           const std::int64_t* const row = random.row(h / (x.q.heads / random.heads), a);
                           return std::find(row, row + random.dim, b) != row + random.dim;
                       });
}

BigbirdOptions& options(SparseCase& c) { return options_of<BigbirdOptions>(c); }

/// Random blocks, some of them in the window, global, twice or none; those of global blocks are anything.
void draw(SparseCase& c) {
    const std::int64_t heads = c.sizes["Hx"], r = c.sizes["R"], size = options(c).block, g = options(c).global_blocks,
                       blocks = (c.shape.Tk + size - 1) / size;
    Integers x{heads, blocks, r, {}};
    for (std::int64_t n = 0; n < heads * blocks * r; ++n) {
        const std::int64_t a = n / r % blocks;
        x.data.push_back(a < g || a >= blocks - g ? 99 : c.random.integer(-1, blocks - 1));
    }
    c.put_integers("rand_blocks", std::move(x));
}

const auto& mechanism = test_sparse<&attenta::bigbird, naive_bigbird>({
    .name = "bigbird",
    .positions = attenta::Positions::same,
    .variants = {{"for each K/V head", [](SparseCase& c) { c.sizes["Hx"] = c.shape.Hkv; }},
                 {"for all heads", [](SparseCase& c) { c.sizes["Hx"] = 1; }},
                 {"nothing random", [](SparseCase& c) { c.sizes["R"] = 0; }},
                 {"nothing global", [](SparseCase& c) { options(c).global_blocks = 0; }},
                 {"blocks of 16", [](SparseCase& c) { options(c).block = 16, options(c).window_blocks = 1; }},
                 {"wide window", [](SparseCase& c) { options(c).window_blocks = 5, options(c).global_blocks = 2; }},
                 {"all global", [](SparseCase& c) { options(c).global_blocks = INT64_MAX; }},
                 {"all in the window", [](SparseCase& c) { options(c).window_blocks = INT64_MAX; }},
                 {"one block", [](SparseCase& c) { options(c).block = 1 << 20; }},
                 {"single tokens", [](SparseCase& c) { options(c).block = 1; }}},
    .sizes = [](SparseCase& c) { options(c).block = 7, c.sizes["Hx"] = c.shape.Hq, c.sizes["R"] = 2; },
    .fill = draw,
    .causal = false,
});

TEST(Bigbird, ShowsItsPattern) {
    SparseCase c = sparse_case(mechanism, {1, 1, 30, 30, 16, 16});
    c.put_integers("rand_blocks", Integers{1, 8, 1, {9, 5, -1, 0, 4, 3, 1, 9}});
    KeyLists lists;
    attenta::bigbird_lists(inputs_of<attenta::BigbirdInputs>(c), lists, {.block = 4});
    EXPECT_EQ(lists.text(),
              "head 0, queries 0-3: 0-29\n"
              "head 0, queries 4-7: 0-11 20-23 28-29\n"
              "head 0, queries 8-11: 0-15 28-29\n"
              "head 0, queries 12-15: 0-3 8-19 28-29\n"
              "head 0, queries 16-19: 0-3 12-23 28-29\n"
              "head 0, queries 20-23: 0-3 12-29\n"
              "head 0, queries 24-27: 0-7 20-29\n"
              "head 0, queries 28-29: 0-29\n");
}

TEST(BigbirdErrors, OptionsAndBlocks) {
    SparseCase c = sparse_case(mechanism, {4, 2, 21, 21, 16, 16});
    Output out = output_of(c);
    const auto refused = [&](const BigbirdOptions& o, std::initializer_list<std::string_view> words) {
        const auto result = refuses(
            [&] {
                attenta::bigbird(inputs_of<attenta::BigbirdInputs>(c), {out.o.view(), out.lse.data()}, o);
            },
            words);
        EXPECT_TRUE(std::isnan(out.lse[0]));
        return result;
    };
    EXPECT_TRUE(refused({.block = 0}, {"bigbird", "block is 0", "at least 1"}));
    EXPECT_TRUE(refused({.block = 7, .window_blocks = 2}, {"bigbird", "window_blocks is 2", "odd"}));
    EXPECT_TRUE(refused({.block = 7, .window_blocks = -1}, {"bigbird", "window_blocks is -1", "at least 1"}));
    EXPECT_TRUE(refused({.block = 7, .global_blocks = -1}, {"bigbird", "global_blocks is -1", "at least 0"}));
    EXPECT_TRUE(refused({.block = 8, .window_blocks = 1, .global_blocks = 0}, {"bigbird", "rand_blocks", "99", "2"}));
    EXPECT_TRUE(refused({.block = 5}, {"bigbird", "rand_blocks has 3 rows", "5 blocks"}));
    attenta::BigbirdInputs missing = inputs_of<attenta::BigbirdInputs>(c);
    missing.rand_blocks.data = nullptr;
    EXPECT_TRUE(refuses([&] { attenta::bigbird(missing, {out.o.view()}); }, {"bigbird", "rand_blocks is null"}));
    c.put_integers("rand_blocks", Integers{3, 3, 1, std::vector<std::int64_t>(9)});
    EXPECT_TRUE(refused({.block = 7}, {"bigbird", "rand_blocks has 3 heads", "1, 2 or 4"}));
    for (const std::int64_t wrong : {-2, 3}) {
        c.put_integers("rand_blocks", Integers{1, 3, 1, {0, wrong, 0}});
        EXPECT_TRUE(refused({.block = 7}, {"bigbird", "rand_blocks is " + std::to_string(wrong), "-1 to 2"}));
    }
}

}  // namespace
}  // namespace attenta_test
