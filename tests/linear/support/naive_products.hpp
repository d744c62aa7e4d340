// Linear attentions whose weights are a polynomial of q·k: based, fastmax.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "mechanism.hpp"

namespace attenta_test {

/// 1, x_a and, of the second degree, x_a x_b for a <= b.
inline Row naive_products(const Row& x, std::int64_t degree) {
    Row y{1};
    y.insert(y.end(), x.begin(), x.end());
    for (std::size_t a = 0; degree == 2 && a < x.size(); ++a)
        for (std::size_t b = a; b < x.size(); ++b) y.push_back(x[a] * x[b]);
    return y;
}

/// Σ over the keys of a state of f(x·k), from the sums of their products: c_0 s_0 + c_1 Σ x_a s_a + c_2 Σ x_a x_b s_ab.
template <class Sum>
double naive_polynomial(const Row& x, std::int64_t degree, const std::array<double, 3>& c, Sum&& sum) {
    const auto D = static_cast<std::int64_t>(x.size());
    double y = c[0] * sum(0);
    for (std::int64_t a = 0; a < D; ++a) {
        y += c[1] * x.data()[a] * sum(1 + a);
        for (std::int64_t b = 0; degree == 2 && b < D; ++b) {
            const std::int64_t low = std::min(a, b), high = std::max(a, b);
            y += c[2] * x.data()[a] * x.data()[b] * sum(1 + D + low * D - low * (low - 1) / 2 + high - low);
        }
    }
    return y;
}

//   o_i = divide(Σ_j f(q_i·k_j) v_j, Σ_j f(q_i·k_j)),   f(x) = c_0 + c_1 x + c_2 x²
//
// Over the keys seen and those of the past. q_row(head, i) and k_row(head, j) give normalised rows, scaled in q.
template <class QRow, class KRow, class Divide>
NaiveLinear naive_polynomial_attention(NaiveLinear r, View k, View v, bool causal, std::int64_t degree,
                                       std::array<double, 3> c, const LinearState& past, QRow&& q_row, KRow&& k_row,
                                       Divide&& divide) {
    if (degree == 1) c[2] = 0;
    r.normalizer = naive_past(past.normalizer, r.state_heads * r.dim);
    for (std::int64_t i = 0; i < r.heads; ++i)
        for (std::int64_t t = 0; t < r.tokens; ++t) {
            const std::int64_t h = i / (r.heads / r.state_heads),
                               seen = causal ? k.tokens - r.tokens + t + 1 : k.tokens;
            const Row q = q_row(i, t);
            double den = naive_polynomial(q, degree, c, [&](std::int64_t f) { return r.z_row(h)[f]; });
            Row num(static_cast<std::size_t>(r.dim_v));
            for (std::int64_t e = 0; !past.empty() && e < r.dim_v; ++e)
                num.data()[e] = naive_polynomial(q, degree, c, [&](std::int64_t f) { return r.s_row(h, f)[e]; });
            for (std::int64_t j = 0; j < seen; ++j) {
                const double x = naive_dot(q.data(), k_row(h, j)), weight = c[0] + x * (c[1] + x * c[2]);
                const Row value = naive_row(v, h, r.state_heads, j);
                for (std::size_t e = 0; e < num.size(); ++e) num[e] += weight * value[e];
                den += weight;
            }
            divide(num, den);
            std::copy(num.begin(), num.end(), r.o_row(i, t));
        }
    for (std::int64_t h = 0; h < r.state_heads; ++h)
        for (std::int64_t j = 0; j < k.tokens; ++j) {
            const Row phi = naive_products(k_row(h, j), degree);
            naive_add(r, h, phi, naive_row(v, h, r.state_heads, j));
            for (std::int64_t f = 0; f < r.dim; ++f) r.z_row(h)[f] += phi.data()[f];
        }
    return r;
}

/// What the first token of a case leaves: sums of weights that some keys have.
inline LinearState state_of_first_token(const LinearCase& c) {
    const NaiveLinear first = naive(c, c.views(0, 1));
    LinearState state(first.state_heads, first.dim, first.dim_v);
    state.matrix.assign(first.matrix.begin(), first.matrix.end());
    state.normalizer.assign(first.normalizer.begin(), first.normalizer.end());
    state.weight.assign(first.weight.begin(), first.weight.end());
    state.key_max.assign(first.key_max.begin(), first.key_max.end());
    return state;
}

}  // namespace attenta_test
