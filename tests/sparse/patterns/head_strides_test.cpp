#include <attenta/sparse/patterns/head_strides.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::HeadStridesMode, attenta::HeadStridesOptions;

Naive naive_head_strides(const attenta::HeadStridesInputs& x, const HeadStridesOptions& options) {
    const std::int64_t keys = x.kv.length(0), s = options.stride, run = (keys + s - 1) / s;
    return naive_over(x.q, x.kv, naive_scale(options.scale, x.q.dim), [&](std::int64_t h, std::int64_t) {
        Keys read;
        for (std::int64_t j = 0; j < keys; ++j)
            if ((options.mode == HeadStridesMode::stride ? j % s : j / run) == h % s) read.push_back(j);
        return read;
    });
}

HeadStridesOptions& options(SparseCase& c) { return options_of<HeadStridesOptions>(c); }

const auto& mechanism = test_sparse<&attenta::head_strides, naive_head_strides>({
    .name = "head_strides",
    .positions = attenta::Positions::none,
    .variants = {{"runs", [](SparseCase& c) { options(c).mode = HeadStridesMode::block; }},
                 {"more shares than heads",
                  [](SparseCase& c) { options(c).stride = std::min<std::int64_t>(c.shape.Tk, 11); }},
                 {"one share", [](SparseCase& c) { options(c).stride = 1; }},
                 {"a key each", [](SparseCase& c) { options(c).stride = c.shape.Tk; }},
                 {"two runs", [](SparseCase& c) { options(c) = {.stride = 2, .mode = HeadStridesMode::block}; }}},
    .sizes = [](SparseCase& c) { options(c).stride = std::min<std::int64_t>(c.shape.Tk, 3); },
    .causal = false,
});

TEST(HeadStrides, ShowsItsPattern) {
    const SparseCase c = sparse_case(mechanism, {3, 1, 2, 7, 16, 16});
    const auto x = inputs_of<attenta::HeadStridesInputs>(c);
    KeyLists lists;
    attenta::head_strides_lists(x, lists, {.stride = 3});
    EXPECT_EQ(lists.text(), "head 0, queries 0-1: 0 3 6\nhead 1, queries 0-1: 1 4\nhead 2, queries 0-1: 2 5\n");
    attenta::head_strides_lists(x, lists, {.stride = 3, .mode = HeadStridesMode::block});
    EXPECT_EQ(lists.text(), "head 0, queries 0-1: 0-2\nhead 1, queries 0-1: 3-5\nhead 2, queries 0-1: 6\n");
}

TEST(HeadStridesErrors, Options) {
    const SparseCase c = sparse_case(mechanism, {4, 2, 2, 9, 16, 16});
    const auto x = inputs_of<attenta::HeadStridesInputs>(c);
    Output out = output_of(c);
    const auto refused = [&](const HeadStridesOptions& o, std::initializer_list<std::string_view> words) {
        return refuses([&] { attenta::head_strides(x, {out.o.view(), out.lse.data()}, o); }, words);
    };
    EXPECT_TRUE(refused({.stride = 0}, {"head_strides", "stride is 0", "1 to the 9"}));
    EXPECT_TRUE(refused({.stride = 10}, {"head_strides", "stride is 10", "1 to the 9"}));
    // Runs of 2 keys: 5 shares have some, the other one none.
    EXPECT_NO_THROW(attenta::head_strides(x, {out.o.view()}, {.stride = 6, .mode = HeadStridesMode::block}));
    EXPECT_TRUE(std::isnan(out.lse[0]));
    const SparseCase many = sparse_case(mechanism, {6, 2, 2, 9, 16, 16});
    KeyLists lists;
    EXPECT_TRUE(refuses(
        [&] {
            attenta::head_strides_lists(inputs_of<attenta::HeadStridesInputs>(many), lists,
                                        {.stride = 6, .mode = HeadStridesMode::block});
        },
        {"head_strides", "stride is 6", "head 5"}));
}

}  // namespace
}  // namespace attenta_test
