#include <attenta/sparse/content/social.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::SocialInputs, attenta::SocialOptions, attenta::SocialPartition;
using Square = std::vector<std::vector<double>>;
using Edges = std::vector<std::vector<bool>>;

void norm(Square& x) {
    double least = x[0][0], most = x[0][0];
    for (const auto& row : x)
        for (const double y : row) least = std::min(least, y), most = std::max(most, y);
    for (auto& row : x)
        for (double& y : row)
            if (most > least) y = (y - least) / (most - least);
}

Edges naive_edges(const SocialInputs& x, const SocialOptions& o) {
    const auto n = x.match.size();
    const auto count = static_cast<std::int64_t>(n);
    Square distance(n, std::vector<double>(n)), gain(1, std::vector<double>(n)), p = distance;
    for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t j = 0; j < count; ++j)
            distance[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)] =
                std::pow(static_cast<double>(std::abs(i - j) / o.period) + 1, -2);
    norm(distance);
    for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t m = 0; m < count; ++m)
            if (x.match[static_cast<std::size_t>(m)] == 1 && i >= m - o.delta && i <= m + o.delta - 1)
                gain[0][static_cast<std::size_t>(i)] += 1 / static_cast<double>(std::abs(m - i) / o.window + 1);
    norm(gain);
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j) {
            p[i][j] = double{o.mix[0]} * double{x.w_dynamic[i]} * double{x.w_dynamic[j]} +
                      double{o.mix[1]} * gain[0][i] * gain[0][j] +
                      double{o.mix[2]} * double{x.w_static[i]} * double{x.w_static[j]} +
                      double{o.mix[3]} * distance[i][j];
            sum += p[i][j];
        }
    Edges edges(n, std::vector<bool>(n));
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j <= i; ++j) {
            const double coin = double{x.coin.row(static_cast<std::int64_t>(i), static_cast<std::int64_t>(j))[0]};
            const double expected = double{o.sparsity} * static_cast<double>(count * count);
            if (coin <= p[i][j] * expected / sum) edges[i][j] = edges[j][i] = true;
        }
    return edges;
}

Naive naive_social(const SocialInputs& x, const SocialOptions& o) {
    const Edges edges = naive_edges(x, o);
    return naive_over(x.q, x.kv, naive_scale(o.scale, x.q.dim), [&](std::int64_t, std::int64_t i) {
        Keys keys;
        for (std::int64_t j = 0; j < x.q.tokens; ++j)
            if (edges[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)] || (o.self_loops && i == j))
                keys.push_back(j);
        return keys;
    });
}

SocialOptions& options(SparseCase& c) { return options_of<SocialOptions>(c); }

const auto& mechanism = test_sparse<&attenta::social, naive_social>({
    .name = "social",
    .positions = attenta::Positions::same,
    .variants = {{"no self loops", [](SparseCase& c) { options(c).self_loops = false; }},
                 {"few edges", [](SparseCase& c) { options(c).self_loops = false, options(c).sparsity = 0.004f; }},
                 {"all edges", [](SparseCase& c) { options(c).sparsity = 1e4f; }},
                 {"one distance", [](SparseCase& c) { options(c).period = 4096; }},
                 {"matches near", [](SparseCase& c) { options(c).delta = 3, options(c).window = 1; }},
                 {"matches alone",
                  [](SparseCase& c) {
                      options(c).mix = {0, 1, 0, 0};
                  }}},
    .fill =
        [](SparseCase& c) {
            std::vector<std::int64_t> match(static_cast<std::size_t>(c.shape.Tk));
            for (std::size_t t = 0; t < match.size(); ++t) match[t] = t % 17 == 0 ? 1 : 0;
            c.put_integers("match", std::move(match));
            for (const char* name : {"w_static", "w_dynamic", "coin"})
                for (std::int64_t h = 0; h < c.view(name).heads; ++h)
                    for (std::int64_t t = 0; t < c.view(name).tokens; ++t)
                        for (std::int64_t d = 0; d < c.view(name).dim; ++d)
                            c.view(name).row(h, t)[d] = static_cast<float>(c.random.uniform());
        },
    .causal = false,
    .outputs = {{"circle_nodes", set_output<&attenta::SocialOutputs::circle_nodes>}},
    .select = Selection<&attenta::social_lists>::call,
});

std::vector<std::int64_t> naive_circles(Edges edges, const SocialOptions& o) {
    const std::size_t n = edges.size();
    for (std::size_t i = 0; i < n; ++i) edges[i][i] = false;
    std::vector<std::int64_t> result;
    for (std::int64_t c = 0; c < o.circles; ++c) {
        std::vector<std::int64_t> circle;
        std::ptrdiff_t most = 0;
        std::size_t centre = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const auto degree = std::count(edges[i].begin(), edges[i].end(), true);
            if (degree > most) most = degree, centre = i;
        }
        if (most > 0) {
            circle.push_back(static_cast<std::int64_t>(centre));
            const std::int64_t size = o.partition == SocialPartition::edge ? o.circle_size - 1 : o.circle_size;
            for (std::size_t j = 0; j < n; ++j)
                if (edges[centre][j] && static_cast<std::int64_t>(circle.size()) < size)
                    circle.push_back(static_cast<std::int64_t>(j));
            for (const std::int64_t a : circle)
                for (std::size_t j = 0; j < n; ++j) {
                    const auto i = static_cast<std::size_t>(a);
                    const bool inside = std::count(circle.begin(), circle.end(), static_cast<std::int64_t>(j)) > 0;
                    if (inside || o.partition == SocialPartition::node) edges[i][j] = edges[j][i] = false;
                }
        }
        circle.resize(static_cast<std::size_t>(o.circle_size), -1);
        result.insert(result.end(), circle.begin(), circle.end());
    }
    return result;
}

TEST(Social, GivesCircles) {
    for (const SocialPartition partition : {SocialPartition::edge, SocialPartition::node})
        for (const std::int64_t size : {3, 9, 200}) {
            SparseCase c = sparse_case(mechanism, {1, 1, 60, 60, 4, 4}, 0, 51);
            options(c).partition = partition;
            options(c).circle_size = size;
            options(c).circles = 12;
            const auto x = inputs_of<SocialInputs>(c);
            std::vector<std::int64_t> got(static_cast<std::size_t>(12 * size), -7);
            KeyLists lists;
            Context context;
            attenta::social_lists(x, lists, options(c), context, got.data());
            EXPECT_EQ(naive_circles(naive_edges(x, options(c)), options(c)), got);
        }
}

TEST(SocialErrors, Options) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        SparseCase c = sparse_case(mechanism, {4, 2, 9, 9, 16, 16});
        spoil(c);
        Output out = output_of(c);
        Context context;
        return refuses([&] { call(c, out, context); }, words);
    };
    EXPECT_TRUE(refused({"social", "period", "0", "1"}, [](SparseCase& c) { options(c).period = 0; }));
    EXPECT_TRUE(refused({"social", "delta", "1", "0"}, [](SparseCase& c) { options(c).delta = -1; }));
    EXPECT_TRUE(refused({"social", "window", "0", "1"}, [](SparseCase& c) { options(c).window = 0; }));
    EXPECT_TRUE(refused({"social", "sparsity"}, [](SparseCase& c) { options(c).sparsity = 0; }));
    EXPECT_TRUE(refused({"social", "circles", "0", "1"}, [](SparseCase& c) { options(c).circles = 0; }));
    EXPECT_TRUE(refused({"social", "circle_size", "1", "2"}, [](SparseCase& c) { options(c).circle_size = 1; }));
    EXPECT_TRUE(refused({"social", "sum", "0"}, [](SparseCase& c) { options(c).mix = {0, 0, 0, 0}; }));
    EXPECT_TRUE(refused({"social", "mix", "finite"},
                        [](SparseCase& c) { options(c).mix[2] = std::numeric_limits<float>::infinity(); }));
    EXPECT_TRUE(refused({"social", "match", "2", "0", "1"}, [](SparseCase& c) { c.integers["match"].data[4] = 2; }));
    EXPECT_TRUE(refused({"social", "match", "8", "9"},
                        [](SparseCase& c) { c.put_integers("match", std::vector<std::int64_t>(8)); }));
    EXPECT_TRUE(refused({"social", "coin", "8", "9"}, [](SparseCase& c) { c.view("coin").tokens = 8; }));
}

}  // namespace
}  // namespace attenta_test
