#include <attenta/sparse/patterns/hierarchical_document.hpp>

#include "exact_mask.hpp"
#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::DocumentGroups, attenta::HierarchicalDocumentInputs, attenta::HierarchicalDocumentOptions;
using Table = attenta::Heads<const std::int64_t>;

bool sees(const Table& keep, const Table& group, std::int64_t i, std::int64_t j) {
    for (std::int64_t l = 0; l < keep.heads; ++l)
        if (*keep.row(l, i) != 0 && *keep.row(l, j) != 0 && *group.row(l, i) == *group.row(l, j)) return true;
    return false;
}

Naive naive_document(const HierarchicalDocumentInputs& x, const HierarchicalDocumentOptions& options) {
    return naive_where(x.q, x.kv, naive_scale(options.scale, x.q.dim),
                       [&](std::int64_t, std::int64_t i, std::int64_t j) {
                           return sees(x.keep, x.group, i, j) && (!options.causal || j <= i);
                       });
}

HierarchicalDocumentOptions& options(SparseCase& c) { return options_of<HierarchicalDocumentOptions>(c); }

struct Tables {
    Integers keep, group;
};

/// [DOC], sections of a [SEC] and three sentences of a [CLS] and 1 to 5 words, and in the end padding.
Tables document(std::int64_t tokens) {
    Tables t{{3, tokens, 1, std::vector<std::int64_t>(static_cast<std::size_t>(3 * tokens))}, {}};
    t.group = t.keep;
    const auto put = [&](std::int64_t level, std::int64_t token, std::int64_t group) {
        t.keep.data[static_cast<std::size_t>(level * tokens + token)] = 1;
        t.group.data[static_cast<std::size_t>(level * tokens + token)] = group;
    };
    put(2, 0, 0);
    std::int64_t at = 1, sentence = 0;
    for (std::int64_t section = 0; at < tokens - tokens / 10; ++section) {
        put(1, at, section);
        put(2, at++, 0);
        for (int s = 0; s < 3; ++s, ++sentence)
            for (std::int64_t word = 0; word <= 1 + sentence % 5 && at < tokens; ++word) {
                put(0, at, sentence);
                if (word == 0) put(1, at, section);
                ++at;
            }
    }
    return t;
}

/// Any tables: groups are scattered and of any numbers.
Tables any_tables(SparseCase& c, std::int64_t levels) {
    Tables t{{levels, c.shape.Tk, 1, {}}, {levels, c.shape.Tk, 1, {}}};
    for (std::int64_t n = 0; n < levels * c.shape.Tk; ++n) {
        t.keep.data.push_back(c.random.integer(-1, 1));
        t.group.data.push_back(c.random.pick<std::int64_t>({INT64_MIN, -1, 0, 5, INT64_MAX}));
    }
    return t;
}

void draw(SparseCase& c) {
    Tables t = c.sizes["L"] > 0 ? any_tables(c, c.sizes["L"]) : document(c.shape.Tk);
    c.put_integers("keep", std::move(t.keep));
    c.put_integers("group", std::move(t.group));
}

const auto& mechanism = test_sparse<&attenta::hierarchical_document, naive_document>({
    .name = "hierarchical_document",
    .positions = attenta::Positions::same,
    .variants = {{"causal", [](SparseCase& c) { options(c).causal = true; }},
                 {"any tables", [](SparseCase& c) { c.sizes["L"] = 4; }},
                 {"any tables, causal", [](SparseCase& c) { c.sizes["L"] = 2, options(c).causal = true; }}},
    .sizes = [](SparseCase& c) { c.sizes["L"] = 0; },
    .fill = draw,
    .causal = false,
});

TEST(HierarchicalDocument, MaskTellsTheTruth) {
    for (const std::size_t variant : {0, 1, 2, 3}) {
        SparseCase c = sparse_case(mechanism, {1, 1, 22, 22, 8, 8}, variant);
        const auto x = inputs_of<HierarchicalDocumentInputs>(c);
        expect_exact(DocumentGroups(x.keep, x.group).mask(options(c).causal), 0, 22,
                     [&](std::int64_t i, std::int64_t j) {
                         return sees(x.keep, x.group, i, j) && (!options(c).causal || j <= i);
                     },
                     {.cover = false, .hull = false});
    }
}

TEST(HierarchicalDocument, ListsNameWhatItsQueriesRead) {
    SparseCase c = sparse_case(mechanism, {1, 1, 22, 22, 8, 8});
    const auto x = inputs_of<HierarchicalDocumentInputs>(c);
    const DocumentGroups groups(x.keep, x.group);
    for (const std::int64_t block : {1, 4})
        for (const bool causal : {true, false})
            EXPECT_EQ(groups.lists(causal, block).text(),
                      KeyLists::of(groups.mask(causal), {.queries = 22, .keys = 22, .query_block = block}).text());
    EXPECT_EQ(groups.levels(), 3);
    EXPECT_EQ(groups.tokens(), 22);
    EXPECT_EQ(groups.members(groups.of(2, 0))[0], 0);
    EXPECT_EQ(groups.of(0, 0), DocumentGroups::none);
}

/// Every key of a group in one block of keys, every query in it: there is nothing to test.
TEST(HierarchicalDocument, MaskClaimsWholeGroups) {
    const std::vector<std::int64_t> ones(30, 1);
    const Table table = attenta::hnd(ones.data(), 1, 30, 1);
    const DocumentGroups groups(table, table);
    EXPECT_EQ(groups.mask(false).classify({0, 0, 0, 0}, {0, 29, 29, 0}, {0, 30, nullptr}), attenta::Cover::all);
    EXPECT_EQ(groups.mask(true).classify({0, 9, 9, 0}, {0, 29, 29, 0}, {0, 10, nullptr}), attenta::Cover::all);
    EXPECT_EQ(groups.mask(true).classify({0, 0, 0, 0}, {0, 9, 9, 0}, {10, 5, nullptr}), attenta::Cover::none);
}

TEST(HierarchicalDocumentErrors, Tables) {
    SparseCase c = sparse_case(mechanism, {4, 2, 22, 22, 8, 8});
    Output out = output_of(c);
    Context context;
    const auto refused = [&](std::initializer_list<std::string_view> words) {
        const auto result = refuses([&] { call(c, out, context); }, words);
        EXPECT_TRUE(std::isnan(out.lse[0]));
        return result;
    };
    c.put_integers("group", Integers{2, 22, 1, std::vector<std::int64_t>(44)});
    EXPECT_TRUE(refused({"hierarchical_document", "group", "2", "3"}));
    const auto x = inputs_of<HierarchicalDocumentInputs>(c);
    EXPECT_TRUE(refuses([&] { DocumentGroups(x.keep, x.group); }, {"DocumentGroups", "group is [2, 22]", "[3, 22]"}));
    c.put_integers("keep", Integers{2, 21, 1, std::vector<std::int64_t>(42)});
    EXPECT_TRUE(refused({"hierarchical_document", "keep", "21", "22"}));
}

}  // namespace
}  // namespace attenta_test
