// Definitions of attentions whose weights are not a softmax, in double precision.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "softmax/support/naive.hpp"

namespace attenta_test {

using Row = std::vector<double>;

/// o = Σ w v, with the weights that weigh(head, query, s) makes of a row of scores, −inf where sees(head, query, key) is false; hidden
/// keys weigh nothing, whatever it says. A row that sees no key is left at 0.
struct NaiveWeighted {
    std::function<double(std::int64_t, std::int64_t, std::int64_t)> score;
    std::function<bool(std::int64_t, std::int64_t, std::int64_t)> sees;
    std::function<void(std::int64_t, std::int64_t, Row&)> weigh;

    Naive operator()(std::int64_t heads, std::int64_t queries, const View& v) const {
        Naive r{heads, queries, v.dim, Row(static_cast<std::size_t>(heads * queries * v.dim)), {}};
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t i = 0; i < queries; ++i) {
                const Row w = weights(h, i, v.tokens);
                for (std::int64_t j = 0; j < v.tokens; ++j)
                    for (std::int64_t c = 0; c < v.dim; ++c)
                        if (w[static_cast<std::size_t>(j)] != 0)
                            r.o_row(h, i)[c] +=
                                w[static_cast<std::size_t>(j)] * double{v.row(h / (heads / v.heads), j)[c]};
            }
        return r;
    }

    Row weights(std::int64_t h, std::int64_t i, std::int64_t keys) const {
        Row s(static_cast<std::size_t>(keys), minus_infinity);
        std::vector<bool> seen(static_cast<std::size_t>(keys), false);
        bool any = false;
        for (std::int64_t j = 0; j < keys; ++j)
            if (sees(h, i, j)) {
                s[static_cast<std::size_t>(j)] = score(h, i, j);
                seen[static_cast<std::size_t>(j)] = any = true;
            }
        if (any) weigh(h, i, s);
        for (std::size_t j = 0; j < s.size(); ++j)
            if (!seen[j]) s[j] = 0;
        return s;
    }
};

/// scale · q·k of a call with grouped heads.
template <class Inputs>
auto naive_scores(const Inputs& x, double scale) {
    const View k = k_of(x.kv);
    return [q = x.q, k, scale](std::int64_t h, std::int64_t i, std::int64_t j) {
        return scale * naive_dot(wide(q.row(h, i), q.dim), wide(k.row(h / (q.heads / k.heads), j), k.dim));
    };
}
inline auto naive_visibility(const attenta::VisibleKeys& v, std::int64_t queries, std::int64_t keys) {
    return [&v, queries, keys](std::int64_t h, std::int64_t i, std::int64_t j) {
        return naive_sees(v, h, i, queries, j, keys);
    };
}

inline double naive_logistic(double x) { return 1 / (1 + std::exp(-x)); }

/// f(s) of the scores that are seen.
template <class F>
void map_seen(Row& s, F&& f) {
    for (double& x : s)
        if (x != minus_infinity) x = f(x);
}
inline double count_seen(const Row& s) {
    double n = 0;
    for (const double x : s) n += x != minus_infinity ? 1 : 0;
    return n;
}

}  // namespace attenta_test
