// How much of exact attention sparse selections keep, and how far their outputs are off, over the keys that they may read: on
// the q, k, v of the bundled model, and on a long synthetic context with planted needles. A table and a picture.
//
//   recovered mass   exp(lse of the selection − lse of all keys): the share of the attention that falls on what is read
//   output error     |o − o of all keys| / |o of all keys|
//
// A selection reads one page or block at least, however small its budget. Columns and diagonals (minference) and blocks by
// antidiagonals (xattention) are chosen by the queries together: those of the last block of a prompt.
//
// Selections that are trained with their model (dsa, msa, qsa, nsa, compressed, sparsek) need a model that has them.
#include "llama.hpp"
#include "plot.hpp"
#include "tensor.hpp"

#include <attenta/catalog.hpp>
#include <attenta/sparse.hpp>

#include <CLI/CLI.hpp>

#include <Eigen/Core>
#include <Eigen/Eigenvalues>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace {

using attenta::Heads;
using attenta::KeyLists;
using attenta::KvView;
using attenta::RetrievalIndex;
using attenta::SparseOutputs;

/// Queries at the end of a context.
struct Problem {
    Tensor q, k, v;
    std::vector<RetrievalIndex> indexes;  ///< of each K/V head, over all keys but the newest
    KvView kv() const { return KvView::of(k.view(), v.view()); }
};

struct Source {
    std::string name;
    std::vector<Problem> problems;  ///< of layers, for instance
};

/// Trained by other queries, [Hq, any, D]. Small ones, which take a minute or two to build on the long context.
std::vector<RetrievalIndex> indexes_of(const Tensor& k, const Tensor& train) {
    const std::int64_t group = train.heads / k.heads;
    std::vector<RetrievalIndex> indexes;
    for (std::int64_t h = 0; h < k.heads; ++h)
        indexes.emplace_back(
            attenta::HeadKeys{.kv = KvView::of(k.view(), k.view()), .head = h, .begin = 0, .end = k.tokens - 1},
            attenta::Matrices<const float>{train.view().row(h * group, 0), 1, group * train.tokens, train.dim},
            attenta::RetrievalIndexOptions{.degree = 16, .query_neighbours = 32, .build_queue = 64});
    return indexes;
}

/// The last queries of each layer of the bundled model, which has read its reference document.
Source model_source(const std::filesystem::path& directory, std::int64_t queries) {
    const llama::Model model(directory);
    const auto reference = attenta::TensorFile::load(directory / "reference.safetensors");
    const auto numbers = reference.tensors.at("tokens").as<std::int64_t>();
    const std::vector<llama::Token> tokens(numbers.begin(), numbers.end());
    attenta::KvCache cache = model.make_cache(static_cast<std::int64_t>(tokens.size()));
    Source source{"the bundled model, " + std::to_string(tokens.size()) + " tokens", {}};
    model.forward(
        tokens, cache, 1, attenta::default_context(),
        [&](std::int64_t, Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<const float>) {
            const std::int64_t n = std::min(queries, q.tokens);
            source.problems.push_back({Tensor(q.slice(q.tokens - n, n)), Tensor(k), Tensor(v),
                                       indexes_of(Tensor(k), Tensor(q.slice(0, q.tokens - n)))});
        });
    return source;
}

/// Normal keys, queries and values, and for each query head 16 keys anywhere that point where its query does: they have some
/// nine tenths of its attention.
Source needle_source(std::int64_t keys) {
    constexpr std::int64_t Hq = 8, Hkv = 2, D = 64, queries = 16, needles = 16;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    Problem p{{Hq, queries, D}, {Hkv, keys, D}, {Hkv, keys, D}, {}};
    Tensor train(Hq, keys / 64, D);
    for (Tensor* t : {&p.q, &p.k, &p.v, &train})
        for (float& x : t->values) x = normal(random);
    const auto strength = static_cast<float>(std::log(static_cast<double>(keys)));
    for (std::int64_t h = 0; h < Hq; ++h)
        for (std::int64_t t = 0; t < queries; ++t)
            for (std::int64_t n = 0; n < needles; ++n) {
                const auto at = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(keys - queries));
                const float* const q = p.q.view().row(h, t);
                float norm = 0;
                for (std::int64_t c = 0; c < D; ++c) norm += q[c] * q[c];
                for (std::int64_t c = 0; c < D; ++c)
                    p.k.view().row(h / (Hq / Hkv), at)[c] = strength * std::sqrt(static_cast<float>(D)) * q[c] / norm;
            }
    p.indexes = indexes_of(p.k, train);
    Source source{"a synthetic context, " + std::to_string(keys) + " tokens, 16 needles per query", {}};
    source.problems.push_back(std::move(p));
    return source;
}

/// Principal components of the keys of each K/V head, by falling variance.
Tensor principal_components(const Tensor& k) {
    Tensor pca(k.heads, k.dim, k.dim);
    for (std::int64_t h = 0; h < k.heads; ++h) {
        using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
        const Eigen::Map<const Rows> keys(k.view().row(h, 0), k.tokens, k.dim);
        const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXf> solver(keys.transpose() * keys);
        Eigen::Map<Rows>(pca.view().row(h, 0), k.dim, k.dim) = solver.eigenvectors().rowwise().reverse();
    }
    return pca;
}

/// Columns and diagonals, half of the budget each. They are found by the last queries of all, so that the others may be 0.
void minference(const Problem& p, std::int64_t budget, const SparseOutputs& out) {
    const std::int64_t first = p.k.tokens - p.q.tokens;
    Tensor q(p.q.heads, p.k.tokens, p.q.dim);
    for (std::int64_t h = 0; h < q.heads; ++h)
        std::copy_n(p.q.view().row(h, 0), p.q.tokens * q.dim, q.view().row(h, first));
    attenta::MinferenceSelection found;
    const std::int64_t columns = budget / 2;
    attenta::minference_lists({.q = q.view(), .kv = p.kv()}, found,
                              {.sink = std::min<std::int64_t>(columns, 4),
                               .local = 1,
                               .vertical_size = columns,
                               .slash_size = budget - columns,
                               .last_q = p.q.tokens});
    KeyLists lists({.heads = q.heads, .queries = p.q.tokens, .keys = p.k.tokens});
    for (std::size_t h = 0; h < found.columns.size(); ++h)
        for (std::int64_t i = first; i < p.k.tokens; ++i) {
            std::set<std::int64_t> keys(found.columns[h].begin(), found.columns[h].end());
            for (const std::int64_t offset : found.offsets[h]) keys.insert(std::max<std::int64_t>(i - offset, 0));
            for (const std::int64_t key : keys) lists.add(key, 1);
            lists.end_list();
        }
    attenta::softmax_attention(p.q.view(), p.kv(), out.o, {.causal = true, .lists = {&lists, 1}}, out.lse);
}

/// The largest threshold whose blocks are within the budget. The queries begin a block: keys before the first one are not read.
void xattention(const Problem& p, std::int64_t budget, const SparseOutputs& out) {
    const std::int64_t block = 64, skipped = (p.k.tokens - p.q.tokens) % block, keys = p.k.tokens - skipped;
    const attenta::XattentionInputs x{
        .q = p.q.view(), .kv = KvView::of(p.k.view().slice(skipped, keys), p.v.view().slice(skipped, keys))};
    attenta::XattentionOptions options{.block_size = block};
    float within = 1e-6f, beyond = 1;
    for (int step = 0; step < 12; ++step) {
        options.threshold = (within + beyond) / 2;
        KeyLists lists;
        attenta::xattention_lists(x, lists, options);
        (lists.size() <= budget * lists.lists() ? within : beyond) = options.threshold;
    }
    options.threshold = within;
    attenta::xattention(x, {out}, options);
}

/// A selection that may read `budget` keys per query.
struct Method {
    std::string name;
    std::function<void(const Problem& p, std::int64_t budget, const SparseOutputs& out)> run;
    double most = 1;  ///< share of the keys up to which it is of use
};

std::vector<Method> methods() {
    using namespace attenta;
    return {
        {"window and 4 sinks",
         [](const Problem& p, std::int64_t budget, const SparseOutputs& out) {
             softmax_attention(
                 p.q.view(), p.kv(), out.o,
                 {.causal = true, .visible = Window{std::max<std::int64_t>(budget - 5, 0), 0} || Global{4}}, out.lse);
         }},
        {"quest, pages of 16",
         [](const Problem& p, std::int64_t budget, const SparseOutputs& out) {
             quest({.q = p.q.view(), .kv = p.kv()}, out, {.top_pages = std::max<std::int64_t>(budget / 16, 1)});
         }},
        {"moba, blocks of 64",
         [](const Problem& p, std::int64_t budget, const SparseOutputs& out) {
             moba({.q = p.q.view(), .kv = p.kv()}, out,
                  {.block_size = 64, .top_k = std::max<std::int64_t>(budget / 64, 1)});
         }},
        {"loki, a quarter of D",
         [](const Problem& p, std::int64_t budget, const SparseOutputs& out) {
             const auto pca = principal_components(p.k);
             loki({.q = p.q.view(), .kv = p.kv(), .pca = pca.view()}, out, {.top_k = budget});
         }},
        {"minference, lines", ::minference},
        {"xattention, blocks of 64", ::xattention},
        {"retrieval, an index",
         [](const Problem& p, std::int64_t budget, const SparseOutputs& out) {
             KeyLists lists;
             retrieval_lists(p.indexes, std::max<std::int64_t>(2 * budget, 64), {.q = p.q.view(), .kv = p.kv()}, lists,
                             {.sink = 0, .window = 1, .top_k = budget - 1});
             softmax_attention(p.q.view(), p.kv(), out.o, {.causal = true, .lists = {&lists, 1}}, out.lse);
         },
         0.05},
        {"the best keys",
         [](const Problem& p, std::int64_t budget, const SparseOutputs& out) {
             RetrievalOutputs all;
             static_cast<SparseOutputs&>(all) = out;
             retrieval({.q = p.q.view(), .kv = p.kv()}, all, {.sink = 0, .window = 1, .top_k = budget - 1});
         }},
    };
}

struct Score {
    double mass = 0, error = 0;
};

/// The mean over all query heads and queries.
Score score(const Source& source, const Method& method, double share) {
    Score sum;
    double rows = 0;
    for (const Problem& p : source.problems) {
        const std::int64_t count = p.q.heads * p.q.tokens;
        Tensor want(p.q.heads, p.q.tokens, p.v.dim), got = want;
        std::vector<float> want_lse(static_cast<std::size_t>(count)), got_lse = want_lse;
        attenta::softmax_attention(p.q.view(), p.kv(), want.view(), {.causal = true}, want_lse.data());
        const auto budget = std::max<std::int64_t>(1, std::llround(share * static_cast<double>(p.k.tokens)));
        method.run(p, budget, {.o = got.view(), .lse = got_lse.data()});
        for (std::int64_t row = 0; row < count; ++row) {
            double off = 0, size = 0;
            for (std::int64_t c = row * p.v.dim; c < (row + 1) * p.v.dim; ++c) {
                const auto at = static_cast<std::size_t>(c);
                off += std::pow(double{got.values[at]} - double{want.values[at]}, 2);
                size += std::pow(double{want.values[at]}, 2);
            }
            const auto at = static_cast<std::size_t>(row);
            sum.mass += std::exp(double{got_lse[at]} - double{want_lse[at]});
            sum.error += std::sqrt(off / size);
        }
        rows += static_cast<double>(count);
    }
    return {sum.mass / rows, sum.error / rows};
}

const std::vector<double> shares = {0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5};

struct Results {
    std::string source;
    std::vector<std::string> methods;
    std::vector<std::vector<Score>> scores;  ///< of methods and shares
};

Results measure(const Source& source) {
    Results r{source.name, {}, {}};
    const std::vector<Method> all = methods();
    std::size_t done = 0;
    for (const Method& m : all) {
        r.methods.push_back(m.name);
        r.scores.emplace_back();
        for (const double share : shares) {
            std::fprintf(stderr, "\r%s: %zu of %zu ", source.name.c_str(), ++done, all.size() * shares.size());
            if (share <= m.most) r.scores.back().push_back(score(source, m, share));
        }
    }
    std::fprintf(stderr, "\r%*s\r", static_cast<int>(source.name.size()) + 20, "");
    return r;
}

void print(const Results& r, const char* title, double Score::*what) {
    std::printf("%s: %s\n   %-26s", r.source.c_str(), title, "keys that are read");
    for (const double share : shares) std::printf(" %6.1f%%", 100 * share);
    std::printf("\n");
    for (std::size_t m = 0; m < r.methods.size(); ++m) {
        std::printf("   %-26s", r.methods[m].c_str());
        for (const Score& s : r.scores[m]) std::printf(" %7.3f", s.*what);
        std::printf("\n");
    }
    std::printf("\n");
}

/// A panel for each source: recovered mass over the share of the keys that are read.
void draw(const std::vector<Results>& all, const std::filesystem::path& path) {
    std::vector<plot::Panel> panels;
    for (const Results& r : all) {
        plot::Panel& panel = panels.emplace_back(plot::Panel{.title = r.source, .x = shares});
        for (const double share : shares) {
            char label[16];
            std::snprintf(label, sizeof label, "%g%%", 100 * share);
            panel.x_labels.emplace_back(label);
        }
        for (std::size_t m = 0; m < r.methods.size(); ++m) {
            plot::Curve& curve = panel.curves.emplace_back(plot::Curve{r.methods[m], {}});
            for (const Score& s : r.scores[m]) curve.y.push_back(s.mass);
        }
    }
    plot::draw(panels, "recovered attention mass over the share of the keys that are read", path);
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"How much of exact attention sparse selections keep."};
    std::string model = ATTENTA_MODEL, svg = "needle.svg";
    std::int64_t keys = 131072;
    app.add_option("--model", model, "directory of the model")->capture_default_str();
    app.add_option("--keys", keys, "tokens of the synthetic context")
        ->check(CLI::Range(1000, 4000000))
        ->capture_default_str();
    app.add_option("--svg", svg, "where the picture goes")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        std::vector<Results> all;
        for (const auto& source : {std::function([&] { return model_source(model, 32); }),
                                   std::function([&] { return needle_source(keys); })}) {
            all.push_back(measure(source()));
            print(all.back(), "recovered attention mass", &Score::mass);
            print(all.back(), "error of the output", &Score::error);
        }
        std::printf("A page or block is read at least, however small the budget.\n");
        draw(all, svg);
        std::printf("The picture is in %s.\n", svg.c_str());
    } catch (const std::exception& e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
    return 0;
}
