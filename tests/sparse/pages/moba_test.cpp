#include <attenta/sparse/pages/moba.hpp>

#include "sparse/support/mechanism.hpp"

namespace attenta_test {
namespace {

using attenta::BlockMeans, attenta::MobaOptions;

/// The query's own block, and the top_k - 1 best complete earlier ones by q · mean.
Naive naive_moba(const attenta::MobaInputs& x, const MobaOptions& options) {
    const View k = k_of(x.kv);
    const std::int64_t first = k.tokens - x.q.tokens, size = options.block_size;
    return naive_over(x.q, x.kv, naive_scale(options.scale, x.q.dim), [&](std::int64_t h, std::int64_t row) {
        const std::int64_t i = first + row, kv_head = h / (x.q.heads / k.heads), own = i / size;
        std::vector<double> gate;
        for (std::int64_t b = 0; b < own; ++b) {
            double sum = 0;
            for (const std::int64_t j : range(b * size, (b + 1) * size))
                sum += naive_dot(x.q.row(h, row), k.row(kv_head, j), k.dim);
            gate.push_back(sum / static_cast<double>(size));
        }
        Keys keys;
        for (const std::int64_t b : best(gate, options.top_k - 1))
            for (const std::int64_t j : range(b * size, (b + 1) * size)) keys.push_back(j);
        for (const std::int64_t j : range(own * size, i + 1)) keys.push_back(j);
        return keys;
    });
}

MobaOptions& options(SparseCase& c) { return options_of<MobaOptions>(c); }

const auto& mechanism = test_sparse<&attenta::moba, naive_moba>({
    .name = "moba",
    .variants = {{"own block alone", [](SparseCase& c) { options(c).top_k = 1; }},
                 {"blocks of 16", [](SparseCase& c) { options(c).block_size = 16; }},
                 {"blocks of 32", [](SparseCase& c) { options(c).block_size = 32, options(c).top_k = 2; }}},
    .sizes = [](SparseCase& c) { options(c).block_size = 7, options(c).top_k = 3; },
    .everything = [](SparseCase& c) { options(c).top_k = 4096; },
    .select = Selection<&attenta::moba_lists>::call,
});

TEST(BlockMeans, GrowWithTheCache) {
    SparseCase c = sparse_case(mechanism, {4, 2, 1, 57, 16, 16});
    attenta::MobaInputs x = inputs_of<attenta::MobaInputs>(c);
    KeyLists want, got;
    attenta::moba_lists(x, want, options(c));
    BlockMeans means(2, 16, 7);
    for (const std::int64_t keys : {0, 6, 7, 30, 57}) {
        const auto k = attenta::Heads<const float>(c.view("k")).slice(0, keys);
        means.update(KvView::of(k, k));
        EXPECT_EQ(means.rows().size(), keys / 7);
    }
    x.means = &means;
    attenta::moba_lists(x, got, options(c));
    EXPECT_EQ(want.text(), got.text());
}

TEST(MobaErrors, Options) {
    SparseCase c = sparse_case(mechanism, {4, 2, 1, 57, 16, 16});
    attenta::MobaInputs x = inputs_of<attenta::MobaInputs>(c);
    KeyLists lists;
    EXPECT_THROW(attenta::moba_lists(x, lists, {.block_size = 0}), attenta::Error);
    EXPECT_THROW(attenta::moba_lists(x, lists, {.top_k = 0}), attenta::Error);
    const BlockMeans other(2, 16, 8);
    x.means = &other;
    EXPECT_THROW(attenta::moba_lists(x, lists, options(c)), attenta::Error);
}

}  // namespace
}  // namespace attenta_test
