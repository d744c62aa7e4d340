// What a linear attention gives, in double precision, and the parts that all definitions share: heads, rows, the read.
// The definitions themselves stand on top of each mechanism's test.
#pragma once

#include <attenta/core/linear_state.hpp>
#include <attenta/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace attenta_test {

using View = attenta::Heads<const float>;
using Row = std::vector<double>;

struct NaiveLinear {
    std::int64_t heads = 0, tokens = 0, dim_v = 0;  ///< of o
    std::int64_t state_heads = 0, dim = 0;          ///< of the matrix [state_heads, dim, dim_v]
    std::vector<double> o, matrix, normalizer, weight, key_max;

    double* o_row(std::int64_t h, std::int64_t t) { return o.data() + (h * tokens + t) * dim_v; }
    const double* o_row(std::int64_t h, std::int64_t t) const { return o.data() + (h * tokens + t) * dim_v; }
    double* s_row(std::int64_t h, std::int64_t d) { return matrix.data() + (h * dim + d) * dim_v; }
    double* z_row(std::int64_t h) { return normalizer.data() + h * dim; }

    /// Output heads that read state head h are first_reader(h) .. first_reader(h + 1) - 1.
    std::int64_t first_reader(std::int64_t h) const { return h * (heads / state_heads); }
};

/// An empty past is zeros.
inline std::vector<double> naive_past(const std::vector<float>& past, std::int64_t n) {
    std::vector<double> x(static_cast<std::size_t>(n));
    std::copy(past.begin(), past.end(), x.begin());
    return x;
}

inline NaiveLinear naive_start(std::int64_t heads, std::int64_t tokens, std::int64_t state_heads, std::int64_t dim,
                               std::int64_t dim_v, const attenta::LinearState& past) {
    NaiveLinear r{heads, tokens, dim_v, state_heads, dim, {}, {}, {}, {}, {}};
    r.o.resize(static_cast<std::size_t>(heads * tokens * dim_v));
    r.matrix = naive_past(past.matrix, state_heads * dim * dim_v);
    return r;
}

/// Row t of head `head` out of `heads`, from a tensor that may have fewer.
inline Row naive_row(View x, std::int64_t head, std::int64_t heads, std::int64_t t) {
    const float* row = x.row(head / (heads / x.heads), t);
    return Row(row, row + x.dim);
}

/// Element c of token t, where one element or one token may stand for all, and nothing for 0.
inline double naive_gate(View g, std::int64_t head, std::int64_t t, std::int64_t c) {
    return g.data ? double{g.row(head, g.tokens == 1 ? 0 : t)[g.dim == 1 ? 0 : c]} : 0.0;
}

inline double naive_dot(const double* a, const Row& b) {
    double s = 0;
    for (std::size_t i = 0; i < b.size(); ++i) s += a[i] * b[i];
    return s;
}

/// S_hᵀ x
inline Row naive_read(NaiveLinear& r, std::int64_t h, const Row& x) {
    Row y(static_cast<std::size_t>(r.dim_v));
    for (std::int64_t d = 0; d < r.dim; ++d)
        for (std::int64_t e = 0; e < r.dim_v; ++e) y.data()[e] += r.s_row(h, d)[e] * x.data()[d];
    return y;
}

/// S_h ← S_h + a bᵀ
inline void naive_add(NaiveLinear& r, std::int64_t h, const Row& a, const Row& b) {
    for (std::int64_t d = 0; d < r.dim; ++d)
        for (std::int64_t e = 0; e < r.dim_v; ++e) r.s_row(h, d)[e] += a.data()[d] * b.data()[e];
}

/// S_h ← factor · S_h
inline void naive_multiply(NaiveLinear& r, std::int64_t h, double factor) {
    for (std::int64_t d = 0; d < r.dim; ++d)
        for (std::int64_t e = 0; e < r.dim_v; ++e) r.s_row(h, d)[e] *= factor;
}

/// S_h ← diag(exp g_t) S_h
inline void naive_decay(NaiveLinear& r, std::int64_t h, View g, std::int64_t t) {
    for (std::int64_t d = 0; d < r.dim; ++d) {
        const double factor = std::exp(naive_gate(g, h, t, d));
        for (std::int64_t e = 0; e < r.dim_v; ++e) r.s_row(h, d)[e] *= factor;
    }
}

/// o_i = factor · S_hᵀ q_i for the output heads i of state head h.
inline void naive_output(NaiveLinear& r, std::int64_t h, View q, std::int64_t t, double factor) {
    for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i) {
        const Row y = naive_read(r, h, naive_row(q, i, r.heads, t));
        for (std::int64_t e = 0; e < r.dim_v; ++e) r.o_row(i, t)[e] = factor * y.data()[e];
    }
}

template <class Scale>
double naive_scale(const Scale& scale, std::int64_t dim) {
    return scale ? double{*scale} : 1 / std::sqrt(static_cast<double>(dim));
}

/// The given g [h, 1, 1], else `otherwise`.
inline std::vector<double> naive_head_decay(View g, std::vector<double> otherwise) {
    if (!g.data) return otherwise;
    std::vector<double> x;
    for (std::int64_t h = 0; h < g.heads; ++h) x.push_back(double{g.row(h, 0)[0]});
    return x;
}

}  // namespace attenta_test
