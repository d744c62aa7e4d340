// The factorisation of CLOVER.
#include <attenta/lowrank/clover.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>

#include "read_matrix.hpp"
#include "solvers.hpp"

ATTENTA_BEGIN

namespace {

using Eigen::MatrixXd;

/// left rightᵀ = U S Vᵀ, cut to `rank`: U S^½ and V S^½, and all of S.
struct Cut {
    MatrixXd left, right;
    Eigen::VectorXd singular;
};

/// left [n, d] and right [m, d]: the product has rank d at most, so the decomposed matrix is d x d.
Cut cut_product(const MatrixXd& left, const MatrixXd& right, std::int64_t rank) {
    const auto l = factorisation::thin_qr(left), r = factorisation::thin_qr(right);
    const auto svd = factorisation::svd(l.r * r.r.transpose());
    const Eigen::Index found = svd.singular.size(), kept = std::min<Eigen::Index>(found, rank);
    const Eigen::VectorXd root = svd.singular.head(kept).cwiseSqrt();
    // Directions beyond those of the smaller matrix have the singular value 0.
    Cut cut{MatrixXd::Zero(left.rows(), rank), MatrixXd::Zero(right.rows(), rank), Eigen::VectorXd::Zero(left.cols())};
    cut.left.leftCols(kept) = l.q * svd.u.leftCols(kept) * root.asDiagonal();
    cut.right.leftCols(kept) = r.q * svd.v.leftCols(kept) * root.asDiagonal();
    cut.singular.head(found) = svd.singular;
    return cut;
}

/// [W, b]ᵀ of a head.
MatrixXd with_bias(const Heads<const float>& weight, const Heads<const float>& bias, std::int64_t head) {
    MatrixXd x(weight.dim + (bias.data ? 1 : 0), weight.tokens);
    x.topRows(weight.dim) = factorisation::read_matrix(weight, head).transpose();
    if (bias.data) x.bottomRows(1) = factorisation::read_matrix(bias, head);
    return x;
}

/// The columns of x as rows of a weight, and its last row as the bias where there is one.
void append_weight(const MatrixXd& x, bool has_bias, std::vector<float>& weight, std::vector<float>& bias) {
    factorisation::append(MatrixXd(x.topRows(x.rows() - (has_bias ? 1 : 0)).transpose()), weight);
    if (has_bias) factorisation::append(MatrixXd(x.bottomRows(1)), bias);
}

void check_factorise(const CloverInputs& in, std::int64_t rank_qk, std::int64_t rank_vo) {
    const char* const f = "clover_factorise";
    for (const auto& [name, w] : {std::pair{"wq", in.wq}, {"wk", in.wk}, {"wv", in.wv}, {"wo", in.wo}})
        factorisation::check_matrix(f, name, w, 1);
    for (const auto& [name, b] : {std::pair{"bq", in.bq}, {"bk", in.bk}, {"bv", in.bv}})
        if (b.data) factorisation::check_matrix(f, name, b, 1);
    LetterSizes letters;
    letters.set("D", in.wq.tokens);
    letters.set("Dv", in.wv.tokens);
    letters.set("O", in.wo.tokens);
    CloverInputs weights = in;
    weights.x.data = nullptr;
    check_shapes(f, InputList(weights), letters);
    if (!std::all_of(in.bo.begin(), in.bo.end(), is_finite)) fail(f, "bo has NaN or infinity, needs finite numbers");
    const auto check_rank = [f](const char* name, std::int64_t rank, std::int64_t most) {
        if (rank < 1 || rank > most)
            fail(f, std::string(name) + " is " + checks::text(rank) + ", needs 1 to the " + checks::text(most) +
                        " channels of a head");
    };
    check_rank("rank_qk", rank_qk, in.wq.tokens);
    check_rank("rank_vo", rank_vo, in.wv.tokens);
}

}  // namespace

CloverWeights clover_factorise(const CloverInputs& in, const CloverRanks& ranks) {
    CloverWeights to;
    to.rank_qk = ranks.rank_qk.value_or(in.wq.tokens);
    to.rank_vo = ranks.rank_vo.value_or(in.wv.tokens);
    check_factorise(in, to.rank_qk, to.rank_vo);
    to.heads = in.wq.heads, to.inputs = in.wq.dim, to.outputs = in.wo.tokens;
    to.scale = 1.f / std::sqrt(static_cast<float>(in.wq.tokens));
    to.bo.assign(in.bo.begin(), in.bo.end());
    for (std::int64_t h = 0; h < to.heads; ++h) {
        const Cut qk = cut_product(with_bias(in.wq, in.bq, h), with_bias(in.wk, in.bk, h), to.rank_qk);
        append_weight(qk.left, in.bq.data != nullptr, to.wq, to.bq);
        append_weight(qk.right, in.bk.data != nullptr, to.wk, to.bk);
        factorisation::append(qk.singular, to.qk_singular);
        const Cut vo = cut_product(with_bias(in.wv, in.bv, h), factorisation::read_matrix(in.wo, h), to.rank_vo);
        append_weight(vo.left, in.bv.data != nullptr, to.wv, to.bv);
        factorisation::append(vo.right, to.wo);
        factorisation::append(vo.singular, to.vo_singular);
    }
    return to;
}

ATTENTA_END
