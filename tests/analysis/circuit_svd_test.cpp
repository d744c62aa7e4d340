// Terms along singular directions: of matrices whose decomposition is known they equal the definition; of any they sum to the score and
// are as few as said; own errors.
#include <attenta/analysis/circuit_svd.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::CircuitSvdInputs, analysis::CircuitSvdOptions;
constexpr auto call = &analysis::circuit_svd;
using Row = std::vector<double>;
using Rows = std::vector<Row>;

/// Ω of a head [d + 1, d + 1].
Rows form_of(const CircuitSvdInputs& x, std::int64_t head) {
    const std::int64_t width = x.x.size(1), dim = x.w_q.size(2);
    const auto at = [&](const auto& w, const auto& b, std::int64_t r, std::int64_t c) {
        return double{r < width ? w.data[(head * width + r) * dim + c] : b.data[head * dim + c]};
    };
    Rows form(static_cast<std::size_t>(width + 1), Row(static_cast<std::size_t>(width + 1)));
    for (std::int64_t i = 0; i <= width; ++i)
        for (std::int64_t j = 0; j <= width; ++j)
            for (std::int64_t c = 0; c < dim; ++c)
                form[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)] +=
                    at(x.w_q, x.b_q, i, c) * at(x.w_k, x.b_k, j, c);
    return form;
}

Row extended(const CircuitSvdInputs& x, std::int64_t token) {
    const std::int64_t width = x.x.size(1);
    Row row(x.x.data + token * width, x.x.data + (token + 1) * width);
    row.push_back(1);
    return row;
}

double product(const Row& a, const Row& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }

/// Ω = U diag(σ) Vᵀ by rotations of pairs of columns of Ω (Hestenes): its columns become σ_k u_k, those of the identity v_k.
struct Decomposition {
    Rows u, v;  ///< by direction, σ descending
    Row sigma;

    Decomposition(const Rows& form, std::size_t rank) {
        const std::size_t n = form.size();
        u.assign(n, Row(n));
        v.assign(n, Row(n));
        for (std::size_t i = 0; i < n; ++i) {
            v[i][i] = 1;
            for (std::size_t j = 0; j < n; ++j) u[j][i] = form[i][j];
        }
        for (int sweep = 0; sweep < 60; ++sweep)
            for (std::size_t a = 0; a < n; ++a)
                for (std::size_t b = a + 1; b < n; ++b) turn(a, b);
        std::vector<std::size_t> order(n);
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::sort(order.begin(), order.end(),
                  [&](std::size_t a, std::size_t b) { return product(u[a], u[a]) > product(u[b], u[b]); });
        Rows all_u, all_v;
        for (std::size_t k = 0; k < rank; ++k) {
            sigma.push_back(std::sqrt(product(u[order[k]], u[order[k]])));
            all_u.push_back(u[order[k]]);
            all_v.push_back(v[order[k]]);
        }
        u = all_u, v = all_v;
    }

private:
    void turn(std::size_t a, std::size_t b) {
        const double aa = product(u[a], u[a]), bb = product(u[b], u[b]), ab = product(u[a], u[b]);
        if (std::abs(ab) <= 1e-300) return;
        const double ratio = (bb - aa) / (2 * ab),
                     t = (ratio >= 0 ? 1 : -1) / (std::abs(ratio) + std::sqrt(1 + ratio * ratio)),
                     c = 1 / std::sqrt(1 + t * t), s = c * t;
        for (Rows* m : {&u, &v})
            for (std::size_t i = 0; i < u.size(); ++i) {
                const double x = (*m)[a][i], y = (*m)[b][i];
                (*m)[a][i] = c * x - s * y;
                (*m)[b][i] = s * x + c * y;
            }
    }
};

/// u_k is not made a unit vector: σ_k is in it.
Values definition(const CircuitSvdInputs& x, const CircuitSvdOptions& o) {
    const std::int64_t dim = x.w_q.size(2);
    Values want;
    for (std::int64_t h = 0; h < x.w_q.size(0); ++h) {
        const Decomposition svd(form_of(x, h), static_cast<std::size_t>(dim));
        want["singular_values"].insert(want["singular_values"].end(), svd.sigma.begin(), svd.sigma.end());
        for (std::int64_t p = 0; p < x.pairs.size(0); ++p) {
            const Row to = extended(x, x.pairs.data[2 * p]), from = extended(x, x.pairs.data[2 * p + 1]);
            Row terms;
            for (std::size_t k = 0; k < svd.sigma.size(); ++k)
                terms.push_back(product(to, svd.u[k]) * product(from, svd.v[k]));
            const double score = std::accumulate(terms.begin(), terms.end(), 0.0);
            std::vector<std::size_t> order(terms.size());
            std::iota(order.begin(), order.end(), std::size_t{0});
            std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
                return score > 0 ? terms[a] > terms[b] : terms[a] < terms[b];
            });
            std::size_t count = 0;
            for (double sum = 0; count < order.size() && (count == 0 || !(sum / score > o.share)); ++count)
                sum += terms[order[count]];
            Row used(terms.size());
            for (std::size_t k = 0; k < count; ++k) used[order[k]] = 1;
            want["score"].push_back(score);
            want["count"].push_back(static_cast<double>(count));
            want["terms"].insert(want["terms"].end(), terms.begin(), terms.end());
            want["used"].insert(want["used"].end(), used.begin(), used.end());
        }
    }
    return want;
}

CircuitSvdInputs drawn(Memory& memory, std::int64_t heads, std::int64_t width, std::int64_t dim, std::int64_t tokens,
                       std::int64_t pairs) {
    const float small = 1 / std::sqrt(static_cast<float>(width));
    std::vector<std::int64_t> list;
    for (std::int64_t i = 0; i < 2 * pairs; ++i) list.push_back(memory.random.integer(0, tokens - 1));
    return {memory.normals<2>({tokens, width}),
            memory.normals<3>({heads, width, dim}, small),
            memory.normals<3>({heads, width, dim}, small),
            memory.normals<2>({heads, dim}, 0.3f),
            memory.normals<2>({heads, dim}, 0.3f),
            {memory.indices(std::move(list)).data(), {pairs, 2}}};
}

TEST(CircuitSvd, EqualsItsDefinition) {
    Memory memory;
    for (const auto& [heads, width, dim, tokens, pairs] :
         {std::array<std::int64_t, 5>{1, 1, 1, 1, 1}, {2, 3, 4, 5, 6}, {3, 24, 8, 17, 13}, {1, 17, 5, 2, 40}})
        for (const double share : {0.1, 0.5, 0.7, 1.0}) {
            const auto x = drawn(memory, heads, width, dim, tokens, pairs);
            expect_values<call>(x, {share}, definition(x, {share}));
        }
}

/// Also of factors that have less than full rank, where directions of σ = 0 are any.
TEST(CircuitSvd, TermsSumToTheScore) {
    Memory memory;
    const auto x = drawn(memory, 2, 12, 5, 7, 9);
    for (std::int64_t r = 0; r < 2 * 12; ++r)
        const_cast<float*>(x.w_q.data)[r * 5 + 4] = const_cast<float*>(x.w_q.data)[r * 5 + 1] = 0;
    for (std::int64_t h = 0; h < 2; ++h)
        const_cast<float*>(x.b_q.data)[h * 5 + 4] = const_cast<float*>(x.b_q.data)[h * 5 + 1] = 0;
    Outputs<call> out(x, {});
    analysis::circuit_svd(x, out.list);
    const Values got = out.values();
    Values want;
    for (std::int64_t h = 0; h < 2; ++h) {
        const Rows form = form_of(x, h);
        for (std::int64_t p = 0; p < 9; ++p) {
            const Row to = extended(x, x.pairs.data[2 * p]), from = extended(x, x.pairs.data[2 * p + 1]);
            double score = 0;
            for (std::size_t i = 0; i < form.size(); ++i) score += to[i] * product(form[i], from);
            want["score"].push_back(score);
            const auto first = got.at("terms").begin() + (h * 9 + p) * 5;
            EXPECT_NEAR(std::accumulate(first, first + 5, 0.0), score, 1e-4);
        }
    }
    EXPECT_TRUE(close(got, want));
}

TEST(CircuitSvd, UsesAllTermsOfAScoreOfZero) {
    Memory memory;
    auto x = drawn(memory, 1, 6, 3, 4, 2);
    x.b_q = memory.normals<2>({1, 3}, 0);
    x.x = memory.normals<2>({4, 6}, 0);
    expect_values<call>(x, {}, definition(x, {}));
    Outputs<call> out(x, {});
    analysis::circuit_svd(x, out.list);
    EXPECT_EQ(out.values().at("count"), (Row{3, 3}));
}

TEST(CircuitSvdErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const auto x = drawn(memory, 2, 4, 5, 6, 3);
    expect_bad_tensors_refused<call>(x, {});
    for (const double share : {0.0, -0.5, 1.01, std::nan("")})
        EXPECT_TRUE(refuses_options<call>(x, {}, [=](auto& o) { o.share = share; }, {"circuit_svd", "share"}));
    const auto wide = drawn(memory, 2, 4, 6, 6, 3);
    EXPECT_TRUE(refuses_to_write<call>(wide, {}, wide, {}, {"w_q", "6", "at most 5"}));
    for (const std::int64_t token : {-1, 6}) {
        std::vector<std::int64_t> pairs(x.pairs.data, x.pairs.data + 6);
        pairs[3] = token;
        EXPECT_TRUE(refuses_inputs<call>(x, {}, [&](auto& in) { in.pairs.data = pairs.data(); },
                                         {"pairs", std::to_string(token), "0 to 5"}));
    }
    std::vector<float> weights(x.w_k.data, x.w_k.data + x.w_k.count());
    weights[7] = std::numeric_limits<float>::infinity();
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [&](auto& in) { in.w_k.data = weights.data(); }, {"w_k", "inf", "7"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.b_q.sizes[0] = 1; }, {"b_q", "1", "2"}));
}

}  // namespace
}  // namespace attenta_test
