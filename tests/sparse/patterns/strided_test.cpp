#include <attenta/sparse/patterns/parts.hpp>
#include <attenta/sparse/patterns/strided.hpp>

#include "exact_mask.hpp"
#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::StridedOptions, attenta::StridedPattern;

bool sees(const StridedOptions& o, std::int64_t h, std::int64_t i, std::int64_t j) {
    if (o.causal && j > i) return false;
    const bool local = std::abs(i - j) < o.window.value_or(o.stride), column = (i - j) % o.stride == 0;
    switch (o.pattern) {
        case StridedPattern::merged:
            return local || column;
        case StridedPattern::local:
            return local;
        case StridedPattern::column:
            return column;
        default:
            return h % 2 == 0 ? local : column;
    }
}

Naive naive_strided(const attenta::StridedInputs& x, const StridedOptions& options) {
    return naive_where(x.q, x.kv, naive_scale(options.scale, x.q.dim),
                       [&](std::int64_t h, std::int64_t i, std::int64_t j) { return sees(options, h, i, j); });
}

StridedOptions& options(SparseCase& c) { return options_of<StridedOptions>(c); }

void set(SparseCase& c, const StridedOptions& o) { options(c) = o; }

const auto& mechanism = test_sparse<&attenta::strided, naive_strided>({
    .name = "strided",
    .variants = {{"window wider than stride",
                  [](SparseCase& c) {
                      set(c, {7, 23});
                  }},
                 {"window", [](SparseCase& c) { options(c).pattern = StridedPattern::local; }},
                 {"columns", [](SparseCase& c) { options(c).pattern = StridedPattern::column; }},
                 {"alternate", [](SparseCase& c) { options(c).pattern = StridedPattern::alternate; }},
                 {"both sides",
                  [](SparseCase& c) {
                      set(c, {6, 2, StridedPattern::merged, false});
                  }},
                 {"both sides, wide window",
                  [](SparseCase& c) {
                      set(c, {6, 15, StridedPattern::merged, false});
                  }},
                 {"window on both sides",
                  [](SparseCase& c) {
                      set(c, {6, 9, StridedPattern::local, false});
                  }},
                 {"columns on both sides",
                  [](SparseCase& c) {
                      set(c, {3, 1, StridedPattern::column, false});
                  }},
                 {"alternate on both sides",
                  [](SparseCase& c) {
                      set(c, {3, 1, StridedPattern::alternate, false});
                  }},
                 {"the query alone in its window",
                  [](SparseCase& c) {
                      set(c, {5, 1});
                  }},
                 {"every key a column", [](SparseCase& c) { set(c, {1, 4}); }},
                 {"columns of one key", [](SparseCase& c) { set(c, {INT64_MAX, 4}); }},
                 {"a window of everything", [](SparseCase& c) { set(c, {3, INT64_MAX}); }}},
    .sizes = [](SparseCase& c) { options(c).stride = 5; },
    .everything =
        [](SparseCase& c) {
            set(c, {1, 1, StridedPattern::column});
        },
});

TEST(Strided, ShowsItsPattern) {
    for (const bool causal : {true, false})
        for (const StridedPattern pattern :
             {StridedPattern::merged, StridedPattern::local, StridedPattern::column, StridedPattern::alternate})
            for (const int head : {0, 1}) {
                const StridedOptions o{5, 3, pattern, causal};
                expect_exact(
                    attenta::strided_mask(o), 6, 20,
                    [&](std::int64_t i, std::int64_t j) { return sees(o, head, i, j); },
                    {.cover = false, .hull = false}, head);
            }
    const auto lists = KeyLists::of(attenta::strided_mask({4, 2}), {.queries = 2, .keys = 10});
    EXPECT_EQ(lists.text(), "head 0, queries 0: 0 4 7-8\nhead 0, queries 1: 1 5 8-9\n");
}

/// Keys outside of windows and chunks, which parts of patterns read.
TEST(Strided, MasksOfPartsAreExact) {
    using attenta::Chunks, attenta::Outside, attenta::Window;
    const auto expect = [](const auto& inner, std::int64_t end) {
        for (const std::int64_t first : {0, 9})
            expect_exact(Outside<std::decay_t<decltype(inner)>>{inner, end}, first, 22,
                         [&](std::int64_t i, std::int64_t j) {
                             const attenta::Interval in = inner.hull({0, i, i, 0}, {0, i, i, 0});
                             return j < in.begin || (j >= in.end && j < end);
                         });
    };
    for (const std::int64_t end : {0, 22}) {
        expect(Window{3, 0}, end);
        expect(Window{3, 3}, end);
        expect(Window{0, 0}, end);
        expect(Window{40, 40}, end);
        expect(Chunks{5}, end);
        expect(Chunks{5, 2}, end);
        expect(Chunks{5, 0, true}, end);
    }
    for (const std::int64_t chunk : {1, 5, 40})
        expect_exact(Chunks{chunk, 0, true}, 9, 22,
                     [&](std::int64_t i, std::int64_t j) { return j <= i && i / chunk == j / chunk; });
}

TEST(StridedErrors, Options) {
    EXPECT_TRUE(refuses([] { attenta::strided_mask({0}); }, {"strided", "stride is 0", "at least 1"}));
    EXPECT_TRUE(refuses([] { attenta::strided_mask({4, 0}); }, {"strided", "window is 0", "at least 1"}));
}

TEST(StridedErrors, KeysInAnotherOrder) {
    SparseCase c = sparse_case(mechanism, {4, 2, 1, 57, 16, 16});
    auto x = inputs_of<attenta::StridedInputs>(c);
    std::vector<std::int32_t> positions(57, 0);
    x.kv.positions = positions.data();
    x.kv.positions_stride = 57;
    Output out = output_of(c);
    EXPECT_TRUE(refuses([&] { attenta::strided(x, {out.o.view(), out.lse.data()}); }, {"strided", "kv has positions"}));
    EXPECT_TRUE(std::isnan(out.lse[0]));
}

}  // namespace
}  // namespace attenta_test
