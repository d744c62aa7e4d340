#include <attenta/sparse/patterns/fixed.hpp>

#include "exact_mask.hpp"
#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::FixedOptions, attenta::FixedPattern;

bool sees(const FixedOptions& o, std::int64_t h, std::int64_t i, std::int64_t j) {
    if (o.causal && j > i) return false;
    const std::int64_t g = h % o.verts, l = o.stride;
    const bool local = i / l == j / l, summary = l - (g + 1) * o.c <= j % l && j % l < l - g * o.c;
    switch (o.pattern) {
        case FixedPattern::merged:
            return local || summary;
        case FixedPattern::local:
            return local;
        case FixedPattern::summary:
            return summary;
        default:
            return h % 2 == 0 ? local : summary;
    }
}

Naive naive_fixed(const attenta::FixedInputs& x, const FixedOptions& options) {
    return naive_where(x.q, x.kv, naive_scale(options.scale, x.q.dim),
                       [&](std::int64_t h, std::int64_t i, std::int64_t j) { return sees(options, h, i, j); });
}

FixedOptions& options(SparseCase& c) { return options_of<FixedOptions>(c); }

void set(SparseCase& c, const FixedOptions& o) { options(c) = o; }

const auto& mechanism = test_sparse<&attenta::fixed, naive_fixed>({
    .name = "fixed",
    .variants = {{"summaries in turn",
                  [](SparseCase& c) {
                      set(c, {9, 2, 3});
                  }},
                 {"block", [](SparseCase& c) { options(c).pattern = FixedPattern::local; }},
                 {"summaries", [](SparseCase& c) { options(c).pattern = FixedPattern::summary; }},
                 {"alternate", [](SparseCase& c) { options(c).pattern = FixedPattern::alternate; }},
                 {"alternate in turn",
                  [](SparseCase& c) {
                      set(c, {9, 4, 2, FixedPattern::alternate});
                  }},
                 {"both sides", [](SparseCase& c) { options(c).causal = false; }},
                 {"both sides in turn",
                  [](SparseCase& c) {
                      set(c, {9, 2, 3, FixedPattern::merged, false});
                  }},
                 {"block on both sides",
                  [](SparseCase& c) {
                      set(c, {9, 2, 1, FixedPattern::local, false});
                  }},
                 {"summaries on both sides",
                  [](SparseCase& c) {
                      set(c, {9, 2, 2, FixedPattern::summary, false});
                  }},
                 {"alternate on both sides",
                  [](SparseCase& c) {
                      set(c, {9, 2, 1, FixedPattern::alternate, false});
                  }},
                 {"summary of the whole block", [](SparseCase& c) { set(c, {6, 6}); }},
                 {"blocks of one token", [](SparseCase& c) { set(c, {1, 1}); }},
                 {"one block", [](SparseCase& c) { set(c, {INT64_MAX, 3}); }}},
    .sizes =
        [](SparseCase& c) {
            set(c, {8, 2});
        },
    .everything =
        [](SparseCase& c) {
            set(c, {4096, 1, 1, FixedPattern::local});
        },
});

TEST(Fixed, ShowsItsPattern) {
    for (const bool causal : {true, false})
        for (const FixedPattern pattern :
             {FixedPattern::merged, FixedPattern::local, FixedPattern::summary, FixedPattern::alternate})
            for (const int head : {0, 1, 2}) {
                const FixedOptions o{6, 2, 3, pattern, causal};
                expect_exact(
                    attenta::fixed_mask(o), 6, 20, [&](std::int64_t i, std::int64_t j) { return sees(o, head, i, j); },
                    {.cover = false, .hull = false}, head);
            }
    const auto lists = KeyLists::of(attenta::fixed_mask({4, 1}), {.queries = 2, .keys = 10});
    EXPECT_EQ(lists.text(), "head 0, queries 0: 3 7-8\nhead 0, queries 1: 3 7-9\n");
}

/// The first queries of a causal sequence see no summary.
TEST(Fixed, RowsMayBeEmpty) {
    SparseCase c = sparse_case(mechanism, {2, 2, 20, 20, 8, 8});
    set(c, {8, 2, 1, FixedPattern::summary});
    Output out = output_of(c);
    Context context;
    call(c, out, context);
    EXPECT_EQ(out.lse_at(0, 5), -std::numeric_limits<float>::infinity());
    EXPECT_EQ(out.o.row(0, 5)[3], 0.f);
    EXPECT_GT(out.lse_at(0, 6), -std::numeric_limits<float>::infinity());
}

TEST(FixedErrors, Options) {
    const auto refused = [](const FixedOptions& o, std::initializer_list<std::string_view> words) {
        return refuses([&] { attenta::fixed_mask(o); }, words);
    };
    EXPECT_TRUE(refused({0, 1}, {"fixed", "stride is 0", "at least 1"}));
    EXPECT_TRUE(refused({8, 0}, {"fixed", "c is 0", "at least 1"}));
    EXPECT_TRUE(refused({8, 1, 0}, {"fixed", "verts is 0", "at least 1"}));
    EXPECT_TRUE(refused({8, 3, 3}, {"fixed", "verts is 3", "c 3", "stride 8"}));
    EXPECT_TRUE(refused({8, INT64_MAX, INT64_MAX}, {"fixed", "verts", "stride 8"}));
}

}  // namespace
}  // namespace attenta_test
