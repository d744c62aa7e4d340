#include <attenta/sparse/indexers/qsa.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::QsaBlockKeys, attenta::QsaInputs, attenta::QsaOptions;

/// Mean, norm and rotation of the keys of block e.
std::vector<double> naive_block_key(const QsaInputs& x, const QsaOptions& options, std::int64_t e) {
    const auto dim = static_cast<std::size_t>(x.q_idx.dim);
    std::vector<double> key(dim);
    if (x.k_block.data) {
        std::copy_n(x.k_block.row(0, e), dim, key.begin());
        return key;
    }
    double squares = 0;
    for (std::size_t c = 0; c < dim; ++c) {
        for (const std::int64_t j : range(e * options.ratio, (e + 1) * options.ratio))
            key[c] += double{x.k_idx.row(0, j)[c]} / static_cast<double>(options.ratio);
        squares += key[c] * key[c];
    }
    for (std::size_t c = 0; c < x.k_norm.size(); ++c)
        key[c] *= double{x.k_norm[c]} / std::sqrt(squares / static_cast<double>(dim) + double{options.eps});
    const std::vector<double> before = key;
    for (std::size_t c = 0, m = x.rope_freq.size(); c < m; ++c) {
        const double angle = static_cast<double>(e * options.ratio) * double{x.rope_freq[c]};
        key[c] = before[c] * std::cos(angle) - before[c + m] * std::sin(angle);
        key[c + m] = before[c + m] * std::cos(angle) + before[c] * std::sin(angle);
    }
    return key;
}

/// The best complete blocks by Σ_h max(0, q_idx · key), and what follows the last complete block.
Naive naive_qsa(const QsaInputs& x, const QsaOptions& options) {
    const std::int64_t keys = x.kv.length(0), first = keys - x.q.tokens, ratio = options.ratio;
    std::vector<std::vector<double>> block;
    for (std::int64_t e = 0; e < keys / ratio; ++e) block.push_back(naive_block_key(x, options, e));
    return naive_over(x.q, x.kv, naive_scale(options.scale, x.q.dim), [&](std::int64_t, std::int64_t row) {
        const std::int64_t i = first + row, complete = (i + 1) / ratio;
        std::vector<double> score;
        for (std::int64_t e = 0; e < complete; ++e) {
            double sum = 0;
            for (std::int64_t h = 0; h < x.q_idx.heads; ++h) {
                double dot = 0;
                for (std::size_t c = 0; c < block[static_cast<std::size_t>(e)].size(); ++c)
                    dot += double{x.q_idx.row(h, row)[c]} * block[static_cast<std::size_t>(e)][c];
                sum += std::max(0.0, dot);
            }
            score.push_back(sum);
        }
        Keys all;
        for (const std::int64_t e : best(score, options.budget / ratio))
            for (const std::int64_t j : range(e * ratio, (e + 1) * ratio)) all.push_back(j);
        for (const std::int64_t j : range(complete * ratio, i + 1)) all.push_back(j);
        return all;
    });
}

QsaOptions& options(SparseCase& c) { return options_of<QsaOptions>(c); }

const auto& mechanism = test_sparse<&attenta::qsa, naive_qsa>({
    .name = "qsa",
    .variants = {{"norm", [](SparseCase& c) { c.put("k_norm", 1, 1, 12), options(c).eps = 0.1f; }},
                 {"rotation", [](SparseCase& c) { c.put("rope_freq", 1, 1, 5); }},
                 {"norm and rotation of all features",
                  [](SparseCase& c) { c.put("k_norm", 1, 1, 12), c.put("rope_freq", 1, 1, 6); }},
                 {"given blocks", [](SparseCase& c) { c.put("k_block", 1, c.shape.Tk / 4, 12); }},
                 {"one head, blocks of 1",
                  [](SparseCase& c) { c.sizes["Gi"] = 1, options(c).ratio = 1, options(c).budget = 9; }},
                 {"one block of 7", [](SparseCase& c) { options(c).ratio = 7, options(c).budget = 13; }}},
    .sizes =
        [](SparseCase& c) {
            c.sizes["Gi"] = 3, c.sizes["Di"] = 12;
            options(c).budget = 21;
        },
    .fill =
        [](SparseCase& c) {
            if (c.floats.count("k_block") == 0) c.put("k_idx", 1, c.shape.Tk, 12);
        },
    .everything = [](SparseCase& c) { options(c).budget = 4096; },
    .select = Selection<&attenta::qsa_lists>::call,
});

/// Keys of blocks that were kept give the same lists as the tokens' keys.
TEST(QsaBlockKeys, GrowWithTheCache) {
    SparseCase c = sparse_case(mechanism, {4, 2, 3, 59, 16, 16}, 3);
    QsaInputs x = inputs_of<QsaInputs>(c);
    KeyLists want, got;
    attenta::qsa_lists(x, want, options(c));
    QsaBlockKeys kept({12, 4, x.k_norm, x.rope_freq, options(c).eps});
    std::int64_t at = 0;
    for (const std::int64_t n : {0, 1, 3, 4, 2, 30, 19}) {
        kept.append({x.k_idx.row(0, at), 1, n, 12});
        at += n;
        EXPECT_EQ(kept.keys(), at);
        EXPECT_EQ(kept.rows().rows, at / 4);
    }
    x.k_idx = {};
    x.k_block = kept.rows();
    attenta::qsa_lists(x, got, options(c));
    EXPECT_EQ(want.text(), got.text());
}

TEST(QsaBlockKeys, RefuseWhatDoesNotFit) {
    const std::vector<float> numbers(24, 1.f);
    const std::span<const float> all(numbers);
    EXPECT_TRUE(refuses([&] { QsaBlockKeys({0, 4}); }, {"QsaBlockKeys", "dim", "0", "1"}));
    EXPECT_TRUE(refuses([&] { QsaBlockKeys({8, 0}); }, {"QsaBlockKeys", "ratio", "0", "1"}));
    EXPECT_TRUE(refuses([&] { QsaBlockKeys({8, 4, all.first(7)}); }, {"QsaBlockKeys", "norm", "7", "8"}));
    EXPECT_TRUE(refuses([&] { QsaBlockKeys({8, 4, {}, all.first(5)}); }, {"QsaBlockKeys", "freq", "10", "8"}));
    EXPECT_TRUE(refuses(
        [&] {
            QsaBlockKeys({8, 4}).append({all.data(), 1, 2, 12});
        },
        {"QsaBlockKeys::append", "keys", "12", "8"}));
}

/// Before the first block is complete there are no keys of blocks, of tokens or given: the tail is everything.
TEST(Qsa, HasATailAlone) {
    for (const std::size_t variant : {std::size_t{0}, std::size_t{4}}) {
        SparseCase c = sparse_case(mechanism, {4, 2, 2, 3, 16, 16}, variant);
        const Naive want = naive(c);
        Output got = output_of(c);
        Context context;
        call(c, got, context);
        EXPECT_TRUE(close(got, want));
    }
}

TEST(QsaErrors, OptionsAndIndexKeys) {
    SparseCase c = sparse_case(mechanism, {4, 2, 5, 57, 16, 16});
    KeyLists lists;
    QsaInputs x = inputs_of<QsaInputs>(c);
    const auto refused = [&](const QsaOptions& o, std::initializer_list<std::string_view> words) {
        return refuses([&] { attenta::qsa_lists(x, lists, o); }, words);
    };
    EXPECT_TRUE(refused({.ratio = 0}, {"qsa", "ratio", "0", "1"}));
    EXPECT_TRUE(refused({.ratio = 4, .budget = 3}, {"qsa", "budget", "3", "4"}));
    c.put("k_block", 1, 14, 12);
    c.put("rope_freq", 1, 1, 7);
    const attenta::Matrices<const float> blocks{c.view("k_block").data, 1, 14, 12}, tokens = x.k_idx;
    x.k_block = blocks;
    EXPECT_TRUE(refused({}, {"qsa", "k_idx", "k_block", "both"}));
    x.k_idx = x.k_block = {};
    EXPECT_TRUE(refused({}, {"qsa", "k_idx", "k_block", "not"}));
    x.k_block = blocks;
    x.k_block.rows = 13;
    EXPECT_TRUE(refused({}, {"qsa", "k_block", "13", "14"}));
    x.k_block = {};
    x.k_idx = tokens;
    x.k_idx.rows = 56;
    EXPECT_TRUE(refused({}, {"qsa", "k_idx", "56", "57"}));
    x.k_idx = tokens;
    x.rope_freq = {c.view("rope_freq").data, 7};
    EXPECT_TRUE(refused({}, {"qsa", "rope_freq", "14", "12"}));
}

}  // namespace
}  // namespace attenta_test
