#pragma once

#include <attenta/analysis/joint_embedding.hpp>
#include <attenta/analysis/pair_kernels.hpp>
#include <attenta/analysis/projection_kernels.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/dense/dense.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
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
    std::vector<double> mean, shift;  ///< mean of the rows
    double gain = 1;

    double operator()(const float* row, std::int64_t c) const {
        return (double{row[c]} + shift[static_cast<std::size_t>(c)]) * gain;
    }
};

/// Of a head's queries and keys.
struct Placements {
    Placement q, k;

    Placements(const Check& check, const JointEmbeddingInputs& x, std::int64_t head,
               const JointEmbeddingOptions& options) {
        const std::int64_t kv_head = head / (x.q.heads / x.k.heads);
        const auto dim = static_cast<std::size_t>(x.q.dim);
        q.mean = mean_row(x.q, head), k.mean = mean_row(x.k, kv_head);
        q.shift.resize(dim), k.shift.resize(dim);
        for (std::size_t c = 0; options.center && c < dim; ++c) k.shift[c] = q.mean[c] - k.mean[c];
        const double query_norm = mean_norm(x.q, head, q.shift), key_norm = mean_norm(x.k, kv_head, k.shift);
        const auto refuse_zeros = [&](const char* side, const char* needs) {
            check.refuse(std::string(side) + " is 0 alone in head " + checks::text(head) + needs);
        };
        if (query_norm == 0) refuse_zeros("q", ", needs a query that is not");
        if (key_norm == 0 && !options.factor) refuse_zeros("k", " of q after centring, needs a factor");
        q.gain = options.factor.value_or(std::sqrt(key_norm / query_norm));
        k.gain = 1 / q.gain;
    }
};

/// One side of the pairs where it is put: its mean, and its rows seen from there.
struct PairSide {
    std::vector<double> mean, rows;
    double mean_square = 0, spread = 0;  ///< |mean|², and the mean square of the rows

    PairSide(const Heads<const float>& x, std::int64_t head, const Placement& place) {
        const auto dim = static_cast<std::size_t>(x.dim);
        for (std::size_t c = 0; c < dim; ++c) {
            mean.push_back((place.mean[c] + place.shift[c]) * place.gain);
            mean_square += mean[c] * mean[c];
        }
        for (std::int64_t t = 0; t < x.tokens; ++t)
            for (std::size_t c = 0; c < dim; ++c) {
                rows.push_back((double{x.row(head, t)[c]} - place.mean[c]) * place.gain);
                spread += rows.back() * rows.back() / static_cast<double>(x.tokens);
            }
    }
    double size() const { return std::sqrt(mean_square + spread); }
};

/// [T, D] of single precision: (rows + shift) / unit.
inline std::vector<float> narrowed(const std::vector<double>& rows, const std::vector<double>& shift, double unit) {
    std::vector<float> to;
    for (std::size_t i = 0; i < rows.size(); ++i)
        to.push_back(static_cast<float>((rows[i] + shift[i % shift.size()]) / unit));
    return to;
}

/// |row + shift|² / unit − less of all rows.
inline std::vector<float> squares_around(const std::vector<double>& rows, const std::vector<double>& shift, double unit,
                                         double less) {
    std::vector<float> to;
    for (std::size_t i = 0; i < rows.size(); i += shift.size()) {
        double square = 0;
        for (std::size_t c = 0; c < shift.size(); ++c) square += (rows[i + c] + shift[c]) * (rows[i + c] + shift[c]);
        to.push_back(static_cast<float>(square / unit - less));
    }
    return to;
}

/// row · other / unit of all rows.
inline std::vector<float> products_with(const std::vector<double>& rows, const std::vector<double>& other,
                                        double unit) {
    std::vector<float> to;
    for (std::size_t i = 0; i < rows.size(); i += other.size())
        to.push_back(static_cast<float>(
            std::inner_product(other.begin(), other.end(), rows.begin() + static_cast<std::ptrdiff_t>(i), 0.0) / unit));
    return to;
}

/// Two sides as single precision keeps their digits, with a and b the rows of q and k seen from their means, and δ that of q from that of
/// k. Products are in units of their sizes, distances in that of all pairs' mean square: a factor may put the sides far apart in size.
///
///   q · k − mean = a · b + a · mean_k + mean_q · b,   |q − k|² = |a + δ|² + (|b − δ|² − |δ|²) − 2 a · b
struct Pairs {
    std::int64_t dim = 0;
    double gain = 1;  ///< what a product of these rows adds to half a squared distance
    std::vector<float> q, k, q_parts, k_parts, q_squares, k_squares;
    std::vector<float> q_near, k_near;  ///< rows in one frame, whose differences keep the digits of near pairs

    Pairs(const PairSide& queries, const PairSide& keys, const std::vector<double>& delta, double square)
        : dim(std::ssize(delta)) {
        const std::vector<double> none(delta.size());
        std::vector<double> back(delta);
        for (double& d : back) d = -d;
        const double of_q = queries.size(), of_k = keys.size(), unit = std::sqrt(square),
                     apart = std::inner_product(delta.begin(), delta.end(), delta.begin(), 0.0) / square;
        gain = of_q * of_k / square;
        q = narrowed(queries.rows, none, of_q), k = narrowed(keys.rows, none, of_k);
        q_parts = products_with(queries.rows, keys.mean, of_q * of_k);
        k_parts = products_with(keys.rows, queries.mean, of_q * of_k);
        q_squares = squares_around(queries.rows, delta, square, 0);
        k_squares = squares_around(keys.rows, back, square, apart);
        q_near = narrowed(queries.rows, delta, unit), k_near = narrowed(keys.rows, none, unit);
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
    /// Of n pairs whose products have a mean square of at most this.
    double correlation(double n, double mean_square) const {
        const double aa = products - product * product / n, dd = distances - distance * distance / n,
                     ad = mixed - product * distance / n;
        if (aa <= no_variance * n * mean_square || dd <= no_variance * n) return 0;
        return ad / std::sqrt(aa * dd);
    }
};

/// Products come as those of matrices, for some queries at a time.
inline PairTotals sum_all_pairs(const Pairs& x, Context& context) {
    constexpr std::int64_t at_a_time = std::int64_t{1} << 20;
    constexpr float near = 0x1p-10f;  // of the squares: differences of squares leave few digits below
    const std::int64_t queries = std::ssize(x.q_squares), keys = std::ssize(x.k_squares), dim = x.dim,
                       step = std::clamp<std::int64_t>(at_a_time / keys, 1, queries);
    std::vector<float> products(static_cast<std::size_t>(step * keys)),
        scratch(static_cast<std::size_t>(context.executor().concurrency() * keys));
    std::vector<CorrelationSums> sums(static_cast<std::size_t>(queries));
    for (std::int64_t first = 0; first < queries; first += step) {
        const std::int64_t count = std::min(step, queries - first);
        dense::multiply({x.q.data() + first * dim, 1, count, dim}, {x.k.data(), 1, keys, dim},
                        {products.data(), 1, count, keys}, {.b_transposed = true}, context);
        run_tasks(context.executor(), count, [&](std::int64_t r, int slot) {
            const auto i = static_cast<std::size_t>(first + r);
            float* const squared = scratch.data() + slot * keys;
            const float *const of_row = products.data() + r * keys, *const row = x.q_near.data() + (first + r) * dim,
                               square = x.q_squares[i], limit = near * square;
            const auto gain = static_cast<float>(x.gain);
            if (squared_pair_distances()(of_row, x.k_squares.data(), keys, square, gain, squared) < limit)
                for (std::int64_t j = 0; j < keys; ++j)
                    if (squared[j] < limit) squared[j] = scaled_distance()(row, 1.f, x.k_near.data() + j * dim, dim);
            sums[i] = pair_correlation_sums()(of_row, x.k_parts.data(), squared, keys, x.q_parts[i]);
        });
    }
    PairTotals totals;
    for (const CorrelationSums& row : sums) totals += row;
    return totals;
}

/// Of q · k with |q − k|.
inline double pair_correlation(const JointEmbeddingInputs& x, std::int64_t head, const Placements& place,
                               Context& context) {
    const PairSide q(x.q, head, place.q), k(x.k, head / (x.q.heads / x.k.heads), place.k);
    std::vector<double> delta(q.mean);
    double square = q.spread + k.spread;
    for (std::size_t c = 0; c < delta.size(); ++c) {
        delta[c] -= k.mean[c];
        square += delta[c] * delta[c];
    }
    if (square == 0 || k.size() == 0) return 0;
    const double products = q.spread * (k.spread + k.mean_square) + q.mean_square * k.spread,
                 size = q.size() * k.size();
    return sum_all_pairs(Pairs(q, k, delta, square), context)
        .correlation(static_cast<double>(x.q.tokens) * static_cast<double>(x.k.tokens), products / (size * size));
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
        if (!(static_cast<float>(*options.factor) > 0))
            check.refuse("factor is " + std::to_string(*options.factor) + ", needs a number above 0");
    }
    check.scratch("the keys of the query heads", x.q.heads, x.k.tokens, x.q.dim);
    check.scratch("the queries", x.q.heads, x.q.tokens, x.q.dim);
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
