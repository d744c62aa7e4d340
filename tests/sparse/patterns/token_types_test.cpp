#include <attenta/sparse/patterns/token_types.hpp>

#include "exact_mask.hpp"
#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::LastReaders, attenta::TokenTypesInputs, attenta::TokenTypesOptions;
using Types = attenta::Heads<const std::int64_t>;

bool sees(const Types& types, std::int64_t window, std::int64_t head, std::int64_t i, std::int64_t j) {
    if (j > i) return false;
    if (*types.row(head, j) == 0) return true;
    if (*types.row(head, j) == 2) return i - j <= window;
    // Not behind the first global token after j.
    for (std::int64_t t = j + 1; t < i; ++t)
        if (*types.row(head, t) == 0) return false;
    return true;
}

Naive naive_token_types(const TokenTypesInputs& x, const TokenTypesOptions& options) {
    return naive_where(x.q, x.kv, naive_scale(options.scale, x.q.dim),
                       [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                           return sees(x.types, options.window, h / (x.q.heads / x.kv.heads), i, j);
                       });
}

TokenTypesOptions& options(SparseCase& c) { return options_of<TokenTypesOptions>(c); }

Integers types_of(std::int64_t heads, std::int64_t keys, auto&& type) {
    Integers x{heads, keys, 1, {}};
    for (std::int64_t n = 0; n < heads * keys; ++n) x.data.push_back(type(n % keys));
    return x;
}

/// Few global tokens, or one type alone.
void draw(SparseCase& c) {
    const std::int64_t only = c.sizes["type"];
    c.put_integers("types", types_of(c.shape.Hkv, c.shape.Tk, [&](std::int64_t) {
                       return only >= 0 ? only : c.random.chance(0.1) ? 0 : c.random.integer(1, 2);
                   }));
}

const auto& mechanism = test_sparse<&attenta::token_types, naive_token_types>({
    .name = "token_types",
    .variants = {{"local alone", [](SparseCase& c) { c.sizes["type"] = 1; }},
                 {"sliding alone", [](SparseCase& c) { c.sizes["type"] = 2; }},
                 {"global alone", [](SparseCase& c) { c.sizes["type"] = 0; }},
                 {"no window", [](SparseCase& c) { options(c).window = 0; }},
                 {"the widest window", [](SparseCase& c) { options(c).window = INT64_MAX; }}},
    .sizes = [](SparseCase& c) { options(c).window = 5, c.sizes["type"] = -1; },
    .fill = draw,
    .everything =
        [](SparseCase& c) {
            c.put_integers("types", types_of(c.shape.Hkv, c.shape.Tk, [](std::int64_t) { return 0; }));
        },
    .outputs = {{"last_reader", set_output<&attenta::TokenTypesOutputs::last_reader>},
                {"alive", set_output<&attenta::TokenTypesOutputs::alive>}},
});

TEST(TokenTypes, MaskIsExact) {
    SparseCase c = sparse_case(mechanism, {4, 2, 22, 22, 8, 8});
    const Types types = inputs_of<TokenTypesInputs>(c).types;
    for (const std::int64_t window : {0, 3, 40})
        for (const int head : {0, 3})
            expect_exact(
                LastReaders(types, window).mask(4), 5, 22,
                [&](std::int64_t i, std::int64_t j) { return sees(types, window, head / 2, i, j); }, {.hull = false},
                head);
}

TEST(TokenTypes, SaysWhoReadsLast) {
    SparseCase c = sparse_case(mechanism, {2, 1, 4, 9, 8, 8});
    options(c).window = 2;
    c.put_integers("types", Integers{1, 9, 1, {1, 2, 0, 1, 1, 2, 0, 1, 2}});
    const auto x = inputs_of<TokenTypesInputs>(c);
    Output out = output_of(c);
    std::vector<std::int64_t> last(9), alive(9);
    attenta::token_types(x, {{out.o.view(), out.lse.data()}, last.data(), alive.data()}, options(c));
    EXPECT_EQ(last, (std::vector<std::int64_t>{2, 3, -1, 6, 6, 7, -1, -1, 10}));
    EXPECT_EQ(alive, (std::vector<std::int64_t>{0, 0, 1, 0, 0, 0, 1, 1, 1}));
    const LastReaders readers(x.types, 2);
    EXPECT_EQ(readers.lists(4, 2).text(), "head 0, queries 0-1: 2-6\nhead 0, queries 2-3: 2 5-8\n");
    EXPECT_EQ(KeyLists::of(readers.mask(1), {.queries = 2, .keys = 9}).text(),
              "head 0, queries 0: 2 5-7\nhead 0, queries 1: 2 6-8\n");
}

TEST(TokenTypesErrors, OptionsAndTypes) {
    SparseCase c = sparse_case(mechanism, {4, 2, 3, 9, 8, 8});
    Output out = output_of(c);
    std::vector<std::int64_t> last(18, 77), alive(18, 77);
    const auto refused = [&](std::initializer_list<std::string_view> words) {
        const auto result = refuses(
            [&] {
                attenta::token_types(inputs_of<TokenTypesInputs>(c),
                                     {{out.o.view(), out.lse.data()}, last.data(), alive.data()}, options(c));
            },
            words);
        EXPECT_TRUE(std::isnan(out.lse[0]) && last[0] == 77 && alive[0] == 77);
        return result;
    };
    options(c) = {};
    EXPECT_TRUE(refused({"token_types", "window is -1", "at least 0"}));
    options(c).window = 3;
    for (const std::int64_t wrong : {-1, 3}) {
        c.put_integers("types", types_of(2, 9, [&](std::int64_t j) { return j == 4 ? wrong : 0; }));
        EXPECT_TRUE(refused({"token_types", "types is " + std::to_string(wrong) + " at [0, 4]", "0, 1 or 2"}));
    }
    c.put_integers("types", types_of(1, 9, [](std::int64_t) { return 0; }));
    EXPECT_TRUE(refused({"token_types", "types", "1", "2"}));
    c.put_integers("types", types_of(2, 8, [](std::int64_t) { return 0; }));
    EXPECT_TRUE(refused({"token_types", "types", "8", "9"}));
}

}  // namespace
}  // namespace attenta_test
