#pragma once

#include <attenta/analysis/joint_embedding.hpp>
#include <attenta/analysis/pair_kernels.hpp>
#include <attenta/analysis/projection_kernels.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/dense/dense.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline std::vector<double> mean_row(const Heads<const float>& x, std::int64_t head) {
    std::vector<double> mean(static_cast<std::size_t>(x.dim));
    for (std::int64_t t = 0; t < x.tokens; ++t)
        for (std::int64_t c = 0; c < x.dim; ++c) mean[static_cast<std::size_t>(c)] += double{x.row(head, t)[c]};
    for (double& m : mean) m /= static_cast<double>(x.tokens);
    return mean;
}

/// Mean norm of the rows of a head, moved by `shift`.
inline double mean_norm(const Heads<const float>& x, std::int64_t head, const std::vector<double>& shift) {
    double sum = 0;
    for (std::int64_t t = 0; t < x.tokens; ++t) {
        double squares = 0;
        for (std::int64_t c = 0; c < x.dim; ++c) {
            const double a = double{x.row(head, t)[c]} + shift[static_cast<std::size_t>(c)];
            squares += a * a;
        }
        sum += std::sqrt(squares);
    }
    return sum / static_cast<double>(x.tokens);
}

/// Where rows of a side are put: (row + shift) gain.
struct Placement {
    std::vector<double> shift;
    double gain = 1;

    double operator()(const float* row, std::int64_t c) const {
        return (double{row[c]} + shift[static_cast<std::size_t>(c)]) * gain;
    }
};

/// Of a head's queries and keys.
struct Placements {
    Placement q, k;
    std::vector<double> key_mean;  ///< of the keys where they are put

    Placements(const Check& check, const JointEmbeddingInputs& x, std::int64_t head,
               const JointEmbeddingOptions& options) {
        const std::int64_t kv_head = head / (x.q.heads / x.k.heads);
        const auto dim = static_cast<std::size_t>(x.q.dim);
        key_mean = mean_row(x.k, kv_head);
        q.shift.resize(dim), k.shift.resize(dim);
        if (options.center) {
            const std::vector<double> query_mean = mean_row(x.q, head);
            for (std::size_t c = 0; c < dim; ++c) k.shift[c] = query_mean[c] - key_mean[c];
        }
        const double query_norm = mean_norm(x.q, head, q.shift), key_norm = mean_norm(x.k, kv_head, k.shift);
        const auto refuse_zeros = [&](const char* side, const char* needs) {
            check.refuse(std::string(side) + " is 0 alone in head " + checks::text(head) + needs);
        };
        if (query_norm == 0) refuse_zeros("q", ", needs a query that is not");
        if (key_norm == 0 && !options.factor) refuse_zeros("k", " of q after centring, needs a factor");
        q.gain = options.factor.value_or(std::sqrt(key_norm / query_norm));
        k.gain = 1 / q.gain;
        for (std::size_t c = 0; c < dim; ++c) key_mean[c] = (key_mean[c] + k.shift[c]) * k.gain;
    }
};

/// One side of the pairs: rows where they are put, seen from the mean of the keys, which changes no distance and keeps the digits of
/// near ones; their squares; and their products with that mean, less the mean product.
struct PairSide {
    std::vector<double> placed;
    double mean_square = 0;
    std::vector<float> rows, squares, products;

    PairSide(const Heads<const float>& x, std::int64_t head, const Placement& place, const std::vector<double>& origin)
        : placed(static_cast<std::size_t>(x.tokens * x.dim)) {
        for (std::int64_t i = 0; i < x.tokens * x.dim; ++i) {
            const double a = place(x.row(head, i / x.dim), i % x.dim) - origin[static_cast<std::size_t>(i % x.dim)];
            placed[static_cast<std::size_t>(i)] = a;
            mean_square += a * a / static_cast<double>(x.tokens);
        }
    }
    /// In single precision, all lengths over `unit`.
    void narrow(const std::vector<double>& origin, double unit) {
        const std::size_t dim = origin.size(), count = placed.size() / dim;
        std::vector<double> with_origin(count);
        double mean = 0;
        for (std::size_t t = 0; t < count; ++t) {
            double square = 0;
            for (std::size_t c = 0; c < dim; ++c) {
                const double a = placed[t * dim + c] / unit;
                rows.push_back(static_cast<float>(a));
                square += a * a;
                with_origin[t] += a * origin[c] / unit;
            }
            squares.push_back(static_cast<float>(square));
            mean += with_origin[t] / static_cast<double>(count);
        }
        for (const double product : with_origin) products.push_back(static_cast<float>(product - mean));
    }
};

/// What single precision leaves of the variance of equal numbers whose mean square is 1.
inline constexpr double no_variance = 1e-13;

/// Sums over all pairs: products of q and k less their mean, distances less 1.
struct PairTotals {
    double product = 0, distance = 0, products = 0, distances = 0, mixed = 0;

    void operator+=(const CorrelationSums& row) {
        product += double{row.product};
        distance += double{row.distance};
        products += double{row.products};
        distances += double{row.distances};
        mixed += double{row.mixed};
    }
    /// Of n pairs whose products have about this mean square.
    double correlation(double n, double mean_square) const {
        const double aa = products - product * product / n, dd = distances - distance * distance / n,
                     ad = mixed - product * distance / n;
        if (aa <= no_variance * n * mean_square || dd <= no_variance * n) return 0;
        return ad / std::sqrt(aa * dd);
    }
};

/// Sums of all pairs of two sides whose mean squares add up to 1. Products come as those of matrices, for some queries at a time.
inline PairTotals sum_all_pairs(const PairSide& q, const PairSide& k, Context& context) {
    constexpr std::int64_t at_a_time = std::int64_t{1} << 20;
    constexpr float near = 0x1p-10f;  // of the squares: differences of squares leave few digits below
    const std::int64_t queries = std::ssize(q.squares), keys = std::ssize(k.squares),
                       dim = std::ssize(q.rows) / queries,
                       step = std::clamp<std::int64_t>(at_a_time / keys, 1, queries);
    std::vector<float> products(static_cast<std::size_t>(step * keys)),
        scratch(static_cast<std::size_t>(context.executor().concurrency() * keys));
    std::vector<CorrelationSums> sums(static_cast<std::size_t>(queries));
    for (std::int64_t first = 0; first < queries; first += step) {
        const std::int64_t count = std::min(step, queries - first);
        dense::multiply({q.rows.data() + first * dim, 1, count, dim}, {k.rows.data(), 1, keys, dim},
                        {products.data(), 1, count, keys}, {.b_transposed = true}, context);
        run_tasks(context.executor(), count, [&](std::int64_t r, int slot) {
            const auto i = static_cast<std::size_t>(first + r);
            float* const squared = scratch.data() + slot * keys;
            const float *const of_row = products.data() + r * keys, *const row = q.rows.data() + (first + r) * dim,
                               limit = near * q.squares[i];
            if (squared_pair_distances()(of_row, k.squares.data(), keys, q.squares[i], squared) < limit)
                for (std::int64_t j = 0; j < keys; ++j)
                    if (squared[j] < limit) squared[j] = scaled_distance()(row, 1.f, k.rows.data() + j * dim, dim);
            sums[i] = pair_correlation_sums()(of_row, k.products.data(), squared, keys, q.products[i]);
        });
    }
    PairTotals totals;
    for (const CorrelationSums& row : sums) totals += row;
    return totals;
}

/// Of q · k with |q − k|.
inline double pair_correlation(const JointEmbeddingInputs& x, std::int64_t head, const Placements& place,
                               Context& context) {
    const std::vector<double>& origin = place.key_mean;
    PairSide q(x.q, head, place.q, origin), k(x.k, head / (x.q.heads / x.k.heads), place.k, origin);
    const double square = q.mean_square + k.mean_square;
    if (square == 0) return 0;
    q.narrow(origin, std::sqrt(square));
    k.narrow(origin, std::sqrt(square));
    double origin_square = 0;
    for (const double a : origin) origin_square += a * a / square;
    return sum_all_pairs(q, k, context)
        .correlation(static_cast<double>(x.q.tokens) * static_cast<double>(x.k.tokens),
                     (q.mean_square / square + origin_square) * k.mean_square / square);
}

/// [T, D] rows where they are put.
inline void give_placed(const Heads<const float>& x, std::int64_t head, const Placement& place, float* to) {
    for (std::int64_t t = 0; t < x.tokens; ++t)
        for (std::int64_t c = 0; c < x.dim; ++c) to[t * x.dim + c] = static_cast<float>(place(x.row(head, t), c));
}

inline void check_joint_embedding(Check& check, const JointEmbeddingInputs& x, const JointEmbeddingOutputs& out,
                                  const JointEmbeddingOptions& options) {
    if (x.q.heads % x.k.heads != 0)
        check.refuse("q has " + checks::text(x.q.heads) + " heads, needs a multiple of the " + checks::text(x.k.heads) +
                     " of k");
    if (options.factor) {
        check.finite("factor", *options.factor);
        if (*options.factor <= 0)
            check.refuse("factor is " + std::to_string(*options.factor) + ", needs a number above 0");
    }
    check.finite_numbers("q", x.q);
    check.finite_numbers("k", x.k);
    check.outputs(out, x, options);
}

}  // namespace detail

ATTENTA_INLINE void joint_embedding(const JointEmbeddingInputs& x, const JointEmbeddingOutputs& out,
                                    const JointEmbeddingOptions& options, Context& context) {
    Check check("joint_embedding", x);
    detail::check_joint_embedding(check, x, out, options);
    std::vector<detail::Placements> places;
    for (std::int64_t h = 0; h < x.q.heads; ++h) places.emplace_back(check, x, h, options);
    const std::int64_t group = x.q.heads / x.k.heads, of_q = x.q.tokens * x.q.dim, of_k = x.k.tokens * x.k.dim;
    run_tasks(context.executor(), x.q.heads, [&](std::int64_t h, int) {
        const detail::Placements& place = places[static_cast<std::size_t>(h)];
        if (out.embed_q) detail::give_placed(x.q, h, place.q, out.embed_q + h * of_q);
        if (out.embed_k) detail::give_placed(x.k, h / group, place.k, out.embed_k + h * of_k);
        if (out.factor) out.factor[h] = static_cast<float>(place.q.gain);
    });
    for (std::int64_t h = 0; out.correlation && h < x.q.heads; ++h)
        out.correlation[h] =
            static_cast<float>(detail::pair_correlation(x, h, places[static_cast<std::size_t>(h)], context));
}

}  // namespace analysis

ATTENTA_END
