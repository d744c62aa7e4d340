#include <attenta/sparse/pages/quest.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::PageBounds, attenta::QuestOptions;

/// bound = Σ_d max(q_d · min_d, q_d · max_d) over the keys j <= i of a page; the top_pages best pages.
Naive naive_quest(const attenta::QuestInputs& x, const QuestOptions& options) {
    const View k = k_of(x.kv);
    const std::int64_t first = k.tokens - x.q.tokens, size = options.page_size;
    return naive_over(x.q, x.kv, naive_scale(options.scale, x.q.dim), [&](std::int64_t h, std::int64_t row) {
        const std::int64_t i = first + row, kv_head = h / (x.q.heads / k.heads), own = i / size;
        std::vector<double> bound;
        for (std::int64_t page = 0; page <= own; ++page) {
            double sum = 0;
            for (std::int64_t c = 0; c < k.dim; ++c) {
                double most = minus_infinity;
                for (const std::int64_t j : range(page * size, std::min((page + 1) * size, i + 1)))
                    most = std::max(most, double{x.q.row(h, row)[c]} * double{k.row(kv_head, j)[c]});
                sum += most;  // of max q·k over the page per channel
            }
            bound.push_back(sum);
        }
        if (options.include_last) bound.back() = std::numeric_limits<double>::infinity();
        Keys keys;
        for (const std::int64_t page : best(bound, options.top_pages))
            for (const std::int64_t j : range(page * size, std::min((page + 1) * size, i + 1))) keys.push_back(j);
        return keys;
    });
}

QuestOptions& options(SparseCase& c) { return options_of<QuestOptions>(c); }

const auto& mechanism = test_sparse<&attenta::quest, naive_quest>({
    .name = "quest",
    .variants = {{"last page not forced", [](SparseCase& c) { options(c).include_last = false; }},
                 {"one page", [](SparseCase& c) { options(c).top_pages = 1; }},
                 {"pages of 16", [](SparseCase& c) { options(c).page_size = 16, options(c).top_pages = 2; }}},
    .sizes = [](SparseCase& c) { options(c).page_size = 5, options(c).top_pages = 3; },
    .everything = [](SparseCase& c) { options(c).top_pages = 4096; },
    .select = Selection<&attenta::quest_lists>::call,
});

/// Bounds that were kept give the same lists as those of the call, in bfloat16 they are still bounds.
TEST(PageBounds, GrowWithTheCache) {
    SparseCase c = sparse_case(mechanism, {4, 2, 1, 57, 16, 16});
    attenta::QuestInputs x = inputs_of<attenta::QuestInputs>(c);
    KeyLists want, got;
    attenta::quest_lists(x, want, options(c));
    PageBounds bounds(2, 16, 5), halves(2, 16, 5, attenta::Dtype::bf16);
    for (const std::int64_t keys : {0, 1, 4, 5, 30, 57}) {
        const auto k = attenta::Heads<const float>(c.view("k")).slice(0, keys);
        bounds.update(KvView::of(k, k));
        halves.update(KvView::of(k, k));
        EXPECT_EQ(bounds.keys(), keys);
    }
    x.bounds = &bounds;
    attenta::quest_lists(x, got, options(c));
    EXPECT_EQ(want.text(), got.text());
    std::vector<float> exact(32), rounded(32);
    for (std::int64_t h = 0; h < 2; ++h)
        for (std::int64_t page = 0; page < 12; ++page) {
            bounds.rows().get(h, page, exact.data());
            halves.rows().get(h, page, rounded.data());
            for (std::size_t i = 0; i < 16; ++i) {
                EXPECT_GE(rounded[i], exact[i]);
                EXPECT_LE(rounded[i + 16], exact[i + 16]);
                EXPECT_NEAR(double{rounded[i]}, double{exact[i]}, 0.01 * std::abs(double{exact[i]}));
            }
        }
}

TEST(PageBounds, RefusesWhatDoesNotFit) {
    SparseCase c = sparse_case(mechanism, {4, 2, 1, 57, 16, 16});
    attenta::QuestInputs x = inputs_of<attenta::QuestInputs>(c);
    KeyLists lists;
    PageBounds bounds(2, 16, 4);
    x.bounds = &bounds;
    EXPECT_THROW(attenta::quest_lists(x, lists, options(c)), attenta::Error);
    EXPECT_THROW(PageBounds(2, 16, 0), attenta::Error);
    EXPECT_THROW(PageBounds(2, 8, 4).update(x.kv), attenta::Error);
}

TEST(QuestErrors, Options) {
    SparseCase c = sparse_case(mechanism, {4, 2, 1, 57, 16, 16});
    KeyLists lists;
    const auto x = inputs_of<attenta::QuestInputs>(c);
    EXPECT_THROW(attenta::quest_lists(x, lists, {.page_size = 0}), attenta::Error);
    EXPECT_THROW(attenta::quest_lists(x, lists, {.top_pages = 0}), attenta::Error);
}

}  // namespace
}  // namespace attenta_test
