#include <attenta/sparse/retrieval/loki.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/paged.hpp"

namespace attenta_test {
namespace {

using attenta::LokiInputs, attenta::LokiOptions, attenta::LowRankKeys;

/// The first d components of x P.
std::vector<double> components(const float* x, View pca, std::int64_t head, std::int64_t d) {
    std::vector<double> y;
    for (std::int64_t e = 0; e < d; ++e) {
        double sum = 0;
        for (std::int64_t c = 0; c < pca.dim; ++c) sum += double{x[c]} * double{pca.row(head, c)[e]};
        y.push_back(sum);
    }
    return y;
}

/// a = (q P)_{1..d} · (k P)_{1..d}; the top_k of j <= i.
Naive naive_loki(const LokiInputs& x, const LokiOptions& options) {
    const View k = k_of(x.kv);
    const std::int64_t first = k.tokens - x.q.tokens, d = options.d.value_or(std::max<std::int64_t>(1, x.q.dim / 4)),
                       top = options.top_k.value_or(std::max<std::int64_t>(1, k.tokens / 4));
    return naive_over(x.q, x.kv, naive_scale(options.scale, x.q.dim), [&](std::int64_t h, std::int64_t i) {
        const std::int64_t kv_head = h / (x.q.heads / k.heads);
        const std::vector<double> q = components(x.q.row(h, i), x.pca, kv_head, d);
        std::vector<double> a;
        for (std::int64_t j = 0; j <= first + i; ++j) {
            const std::vector<double> key = components(k.row(kv_head, j), x.pca, kv_head, d);
            a.push_back(std::inner_product(q.begin(), q.end(), key.begin(), 0.0));
        }
        return best(a, top);
    });
}

LokiOptions& options(SparseCase& c) { return options_of<LokiOptions>(c); }

const auto& mechanism = test_sparse<&attenta::loki, naive_loki>({
    .name = "loki",
    .variants = {{"all components", [](SparseCase& c) { options(c).d = c.shape.D; }},
                 {"one component and key", [](SparseCase& c) { options(c).d = options(c).top_k = 1; }},
                 {"half of the components", [](SparseCase& c) { options(c).d = c.shape.D / 2, options(c).top_k = 9; }}},
    .sizes = [](SparseCase& c) { c.sizes["Tp"] = c.shape.D; },
    .everything = [](SparseCase& c) { options(c).top_k = 4096; },
    .select = Selection<&attenta::loki_lists>::call,
});

/// Components that were kept give the lists of the call, from pages too; in bfloat16 they are close.
TEST(LowRankKeys, GrowWithTheCache) {
    SparseCase c = sparse_case(mechanism, {4, 2, 3, 57, 16, 16});
    LokiInputs x = inputs_of<LokiInputs>(c);
    KeyLists want, got;
    attenta::loki_lists(x, want, options(c));
    LowRankKeys kept(x.pca, 4), halves(x.pca, 4, attenta::Dtype::bf16);
    for (const std::int64_t keys : {0, 1, 30, 30, 57}) {
        const auto k = attenta::Heads<const float>(c.view("k")).slice(0, keys);
        kept.update(KvView::of(k, k));
        halves.update(KvView::of(k, k));
        EXPECT_EQ(kept.rows().size(), keys);
    }
    x.low = &kept;
    attenta::loki_lists(x, got, options(c));
    EXPECT_EQ(want.text(1000), got.text(1000));
    const PagedPool<float> pool({{c.view("k"), c.view("v")}}, 8, PageLayout::token_head);
    LowRankKeys paged(x.pca, 4);
    paged.update(pool.view());
    x.low = &paged;
    attenta::loki_lists(x, got, options(c));
    EXPECT_EQ(want.text(1000), got.text(1000));
    std::vector<float> exact(4), rounded(4);
    for (std::int64_t j = 0; j < 57; ++j) {
        kept.rows().get(1, j, exact.data());
        halves.rows().get(1, j, rounded.data());
        for (std::size_t e = 0; e < 4; ++e) EXPECT_NEAR(exact[e], rounded[e], 0.01 * std::abs(double{exact[e]}));
    }
}

TEST(LokiErrors, Options) {
    SparseCase c = sparse_case(mechanism, {4, 2, 3, 57, 16, 16});
    LokiInputs x = inputs_of<LokiInputs>(c);
    KeyLists lists;
    const auto refused = [&](std::initializer_list<std::string_view> words, const LokiOptions& o) {
        return refuses([&] { attenta::loki_lists(x, lists, o); }, words);
    };
    EXPECT_TRUE(refused({"loki", "d", "0", "16"}, {.d = 0}));
    EXPECT_TRUE(refused({"loki", "d", "17", "16"}, {.d = 17}));
    EXPECT_TRUE(refused({"loki", "top_k", "0", "1"}, {.top_k = 0}));
    const LowRankKeys other(x.pca, 5), empty(x.pca, 4);
    x.low = &other;
    EXPECT_TRUE(refused({"loki", "low", "5", "4"}, {}));
    x.low = &empty;
    EXPECT_TRUE(refused({"loki", "low", "0", "57"}, {}));
    x.low = nullptr;
    x.pca.tokens = 15;
    EXPECT_TRUE(refused({"loki", "pca", "15", "16"}, {}));
    x.pca.tokens = 16;
    x.pca.heads = 1;
    EXPECT_TRUE(refused({"loki", "pca", "1", "2"}, {}));
    EXPECT_THROW(LowRankKeys(c.view("pca"), 0), attenta::Error);
    EXPECT_THROW(LowRankKeys(c.view("pca"), 4).update(KvView::of(c.view("q"), c.view("q"))), attenta::Error);
}

}  // namespace
}  // namespace attenta_test
