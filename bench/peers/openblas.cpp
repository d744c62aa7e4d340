// OpenBLAS: sgemm, softmax in Eigen, sgemm.
#include "bench/peers/blocks.hpp"
#include "bench/ruler/roofline.hpp"
#include "bench/softmax/implementations.hpp"

#include <cblas.h>
#include <Eigen/Core>

#include <memory>

namespace bench {
namespace {

class OpenBlas final : public Products {
public:
    void scores(std::int64_t rows, std::int64_t keys, const float* q, HeadRows k, float* s) override {
        gemm(CblasTrans, rows, keys, k.dim, q, k, s, keys);
    }

    void softmax(std::int64_t rows, std::int64_t keys, float* s) override {
        denominators_.resize(rows);
        for (std::int64_t r = 0; r < rows; ++r) {
            Eigen::Map<Eigen::ArrayXf> row(s + r * keys, keys);
            row = (row - row.maxCoeff()).exp();
            denominators_[r] = row.sum();
        }
    }

    void values(std::int64_t rows, std::int64_t keys, const float* s, HeadRows v, float* o) override {
        gemm(CblasNoTrans, rows, v.dim, keys, s, v, o, v.dim);
        Eigen::Map<Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(o, rows, v.dim).colwise() /=
            denominators_;
    }

private:
    /// c [m, n] = a [m, k] · b, or bᵀ.
    static void gemm(CBLAS_TRANSPOSE transpose, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                     HeadRows b, float* c, std::int64_t stride) {
        const auto size = [](std::int64_t x) { return static_cast<blasint>(x); };
        cblas_sgemm(CblasRowMajor, CblasNoTrans, transpose, size(m), size(n), size(k), 1.0f, a, size(k), b.data,
                    size(b.stride), 0.0f, c, size(stride));
    }

    Eigen::ArrayXf denominators_;
};

Run prepare(const Problem& problem) {
    openblas_set_num_threads(problem.shape().threads);
    constexpr std::int64_t rows = 128;  // fastest of 64 to 1024 on a Turin-like core
    return [attend = std::make_shared<BlockwiseAttention>(problem, rows),
            products = std::make_shared<OpenBlas>()](std::size_t copy) { (*attend)(copy, *products); };
}

const Added<Implementation> openblas({"openblas", is_dense_f32, prepare, widest_isa,
                                      [] { return std::string(openblas_get_config()); }});

}  // namespace
}  // namespace bench
