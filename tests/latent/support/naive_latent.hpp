// Latent attention in double, token by token, as its definition says.
#pragma once

#include <attenta/core/view.hpp>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "support/naive_softmax.hpp"
#include "support/tensor.hpp"

namespace attenta_test {

/// A row of numbers: `to` [at] += Σ w[r] x[r].
inline double naive_dot(const float* a, const double* b, std::int64_t n) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += double{a[i]} * b[i];
    return sum;
}

/// What a query of position `i` may see.
using Sees = std::function<bool(std::int64_t i, std::int64_t j)>;

struct NaiveLatent {
    attenta::Heads<const float> q_nope, q_pe, w_uk, w_uv;
    double scale;
    std::vector<float> sink = {};

    /// Latents of `latent(group, j)` and rotary keys of `rotary(j)` for tokens 0 .. keys - 1; query t stands at first + t.
    template <class Latent, class Rotary>
    Naive attend(std::int64_t groups, std::int64_t keys, std::int64_t first, Latent&& latent, Rotary&& rotary,
                 const Sees& sees) const {
        const std::int64_t heads = q_nope.heads, R = w_uk.dim, Dn = w_uk.tokens, Dv = w_uv.tokens;
        Naive out;
        out.tokens = q_nope.tokens;
        out.dim = Dv;
        out.o.assign(static_cast<std::size_t>(heads * q_nope.tokens * Dv), 0.0);
        out.lse.assign(static_cast<std::size_t>(heads * q_nope.tokens), -std::numeric_limits<double>::infinity());
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t t = 0; t < q_nope.tokens; ++t) {
                std::vector<double> scores, weights;
                std::vector<std::int64_t> seen;
                double most = sink.empty() ? -std::numeric_limits<double>::infinity() : double{sink.data()[h]};
                for (std::int64_t j = 0; j < keys; ++j) {
                    if (!sees(first + t, j)) continue;
                    const double* const c = latent(h / (heads / groups), j, t);
                    double s = 0;
                    for (std::int64_t d = 0; d < Dn; ++d)
                        s += double{q_nope.row(h, t)[d]} * naive_dot(w_uk.row(h, d), c, R);
                    s += naive_dot(q_pe.row(h, t), rotary(j), q_pe.dim);
                    scores.push_back(scale * s);
                    seen.push_back(j);
                    most = std::max(most, scores.back());
                }
                double sum = sink.empty() ? 0 : std::exp(double{sink.data()[h]} - most);
                for (const double s : scores) sum += std::exp(s - most);
                if (sum == 0) continue;
                out.lse.data()[h * out.tokens + t] = most + std::log(sum);
                for (std::size_t n = 0; n < seen.size(); ++n)
                    for (std::int64_t e = 0; e < Dv; ++e)
                        out.o.data()[(h * out.tokens + t) * Dv + e] +=
                            std::exp(scores[n] - most) / sum *
                            naive_dot(w_uv.row(h, e), latent(h / (heads / groups), seen[n], t), R);
            }
        return out;
    }
};

/// The rows of a tensor in double.
inline std::vector<double> in_double(const Tensor<float>& x) {
    std::vector<double> all;
    x.each_row([&](const float* row, std::int64_t, std::int64_t) { all.insert(all.end(), row, row + x.view().dim); });
    return all;
}

}  // namespace attenta_test
