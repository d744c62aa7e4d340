// Kernel PCA of keys equals its definition, with another eigensolver; large scores; its own errors.
#include <attenta/analysis/kernel_pca.hpp>

#include "analysis/support/alignment.hpp"
#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::KernelPcaInputs, analysis::KernelPcaOptions;
constexpr auto call = &analysis::kernel_pca;
constexpr Tolerance tolerance{1e-7, 2e-4};

using Rows = std::vector<std::vector<double>>;

Rows rows_of(const View& x, std::int64_t head, bool standardize) {
    Rows rows;
    for (std::int64_t t = 0; t < x.tokens; ++t) {
        auto& row = rows.emplace_back(x.row(head, t), x.row(head, t) + x.dim);
        if (!standardize) continue;
        const auto n = static_cast<double>(x.dim);
        const double mean = std::accumulate(row.begin(), row.end(), 0.0) / n;
        double squares = 0;
        for (const double e : row) squares += (e - mean) * (e - mean);
        for (double& e : row) e = (e - mean) / (std::sqrt(squares / (n - 1)) + 1e-8);
    }
    return rows;
}
double product(const std::vector<double>& x, const std::vector<double>& y) {
    return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
}
Square gram(const Rows& x) {
    Square g(std::ssize(x));
    for (std::size_t i = 0; i < x.size(); ++i)
        for (std::size_t j = 0; j < x.size(); ++j)
            g(static_cast<std::int64_t>(i), static_cast<std::int64_t>(j)) = product(x[i], x[j]);
    return g;
}

/// Jacobi's rotations: eigenvalues are left on the diagonal of a, the columns of the result are eigenvectors.
Square rotate_to_diagonal(Square& a) {
    const std::int64_t n = a.size();
    Square u = identity(n);
    for (int sweep = 0; sweep < 30; ++sweep)
        for (std::int64_t p = 0; p < n; ++p)
            for (std::int64_t r = p + 1; r < n; ++r) {
                const double angle = 0.5 * std::atan2(2 * a(p, r), a(r, r) - a(p, p));
                const double c = std::cos(angle), s = std::sin(angle);
                const auto turn = [c, s](double& x, double& y) {
                    const double before = x;
                    x = c * before - s * y;
                    y = s * before + c * y;
                };
                for (std::int64_t i = 0; i < n; ++i) turn(a(i, p), a(i, r));
                for (std::int64_t i = 0; i < n; ++i) turn(a(p, i), a(r, i));
                for (std::int64_t i = 0; i < n; ++i) turn(u(i, p), u(i, r));
            }
    return u;
}

Rows of_unit_mean_square(Rows x) {
    double squares = 0;
    for (const auto& row : x) squares += product(row, row);
    const double root = std::sqrt(squares / static_cast<double>(x.size() * x[0].size()));
    for (auto& row : x)
        for (double& e : row) e /= root;
    return x;
}
Square gaussian(const Rows& x) {
    Square d(std::ssize(x));
    for (std::int64_t i = 0; i < d.size(); ++i)
        for (std::int64_t j = 0; j < d.size(); ++j)
            for (std::size_t c = 0; c < x[0].size(); ++c)
                d(i, j) += std::pow(x[static_cast<std::size_t>(i)][c] - x[static_cast<std::size_t>(j)][c], 2);
    return gaussian_of(d);
}

struct Axes {
    std::vector<double> eigenvalues;
    Rows values;
};

Axes axes_of(const Rows& k, double scale, std::int64_t components) {
    Square kernel = gram(k);
    const std::int64_t n = kernel.size();
    std::vector<double> g(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < n; ++j)
            g[static_cast<std::size_t>(i)] += kernel(i, j) = std::exp(scale * kernel(i, j));
    for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < n; ++j)
            kernel(i, j) /= g[static_cast<std::size_t>(i)] * g[static_cast<std::size_t>(j)] + 1e-6;
    kernel = centred(kernel);
    const Square u = rotate_to_diagonal(kernel);
    std::vector<std::int64_t> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](auto a, auto b) { return std::abs(kernel(a, a)) > std::abs(kernel(b, b)); });
    order.resize(static_cast<std::size_t>(components));
    Axes axes{{}, Rows(static_cast<std::size_t>(n))};
    for (const std::int64_t c : order) {
        axes.eigenvalues.push_back(std::abs(kernel(c, c)));
        double mean = 0;
        for (std::int64_t i = 0; i < n; ++i) mean += u(i, c) / static_cast<double>(n);
        for (std::size_t i = 0; i < g.size(); ++i)
            axes.values[i].push_back((u(static_cast<std::int64_t>(i), c) - mean) / g[i]);
    }
    return axes;
}

Values definition(const KernelPcaInputs& x, const KernelPcaOptions& o) {
    Values want;
    const double scale = o.scale ? *o.scale : 1 / std::sqrt(static_cast<double>(x.q.dim));
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        const Rows q = rows_of(x.q, h, o.standardize), k = rows_of(x.k, h, o.standardize), v = rows_of(x.v, h, false);
        const Axes axes = axes_of(k, scale, std::min(o.components ? *o.components : x.k.dim, x.k.tokens));
        auto& eigenvalues = want["eigenvalues"];
        eigenvalues.insert(eigenvalues.end(), axes.eigenvalues.begin(), axes.eigenvalues.end());
        double error = 0;
        for (const auto& query : q) {
            double sum = 0, output_norm = 0;
            std::vector<double> output(v[0].size());
            for (std::size_t j = 0; j < k.size(); ++j) {
                const double e = std::exp(scale * product(query, k[j]));
                sum += e;
                for (std::size_t c = 0; c < output.size(); ++c) output[c] += e * v[j][c];
            }
            for (const double e : output) output_norm += e / sum * e / sum;
            want["query_norm"].push_back(std::exp(scale * product(query, query)) / sum / sum);
            want["output_norm"].push_back(output_norm);
            error += std::abs(want["query_norm"].back() - output_norm) / static_cast<double>(q.size());
        }
        want["error"].push_back(error);
        want["linear_cka"].push_back(align(gram(of_unit_mean_square(v)), gram(of_unit_mean_square(axes.values))));
        want["gaussian_cka"].push_back(align(gaussian(v), gaussian(axes.values)));
    }
    return want;
}

KernelPcaInputs drawn(Memory& memory, std::int64_t heads, std::int64_t queries, std::int64_t keys, std::int64_t dim,
                      std::int64_t dim_v) {
    return {memory.heads(heads, queries, dim), memory.heads(heads, keys, dim), memory.heads(heads, keys, dim_v)};
}

TEST(KernelPca, EqualsItsDefinition) {
    Memory memory;
    for (const auto& [heads, queries, keys, dim, dim_v, components] : {std::array<std::int64_t, 6>{1, 1, 2, 2, 1, 1},
                                                                       {3, 33, 33, 8, 8, 8},
                                                                       {2, 17, 29, 12, 5, 6},
                                                                       {4, 3, 9, 16, 10, 5}}) {
        const auto x = drawn(memory, heads, queries, keys, dim, dim_v);
        for (const bool standardize : {true, false}) {
            const KernelPcaOptions o{standardize, {}, components}, scaled{standardize, 0.1, components};
            expect_values<call>(x, o, definition(x, o), tolerance);
            expect_values<call>(x, scaled, definition(x, scaled), tolerance);
        }
    }
}

TEST(KernelPca, TakesDAxesOrAsManyAsThereAreKeys) {
    Memory memory;
    for (const std::int64_t keys : {5, 11}) {
        const auto x = drawn(memory, 2, 3, keys, 7, 4);
        expect_values<call>(x, {}, definition(x, {}), tolerance);
    }
}

TEST(KernelPca, DoesNotOverflow) {
    Memory memory;
    const KernelPcaInputs x{memory.heads(2, 6, 4, 60), memory.heads(2, 8, 4, 60), memory.heads(2, 8, 4)};
    const Outputs<call> out(x, {false});
    analysis::kernel_pca(x, out.list, {false});
    for (const auto& [name, numbers] : out.values())
        for (const double n : numbers) EXPECT_FALSE(std::isnan(n)) << name;
}

TEST(KernelPcaErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const auto x = drawn(memory, 2, 4, 5, 3, 2);
    expect_bad_tensors_refused<call>(x, {});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_inputs<call>(x, {}, change, words);
    };
    const auto options = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(x, {}, change, words);
    };
    EXPECT_TRUE(options([](auto& o) { o.components = 0; }, {"kernel_pca", "components", "0"}));
    EXPECT_TRUE(options([](auto& o) { o.scale = 0; }, {"scale", "0"}));
    EXPECT_TRUE(options([](auto& o) { o.scale = std::nan(""); }, {"scale", "finite"}));
    EXPECT_TRUE(refused([](auto& in) { in.k.tokens = in.v.tokens = 1; }, {"keys", "1", "2"}));
    EXPECT_TRUE(refused([](auto& in) { in.q.dim = in.k.dim = 1; }, {"standardize", "1", "2"}));
    EXPECT_TRUE(refused([](auto& in) { in.q.heads = 1; }, {"k", "2", "1"}));
    EXPECT_TRUE(refused([](auto& in) { in.v.tokens = 4; }, {"v", "4", "5"}));
    EXPECT_TRUE(refused([](auto& in) { in.v.token_stride = 0; }, {"gaussian_cka", "head", "0", "equal"}));
    const_cast<float&>(x.k.row(1, 2)[1]) = std::nanf("");
    EXPECT_TRUE(refused([](auto&) {}, {"k", "1", "finite"}));
}

}  // namespace
}  // namespace attenta_test
