#include <attenta/sparse/indexers/dsa.hpp>

#include "sparse/support/mechanism.hpp"

namespace attenta_test {
namespace {

/// I_ij = Σ_h w_hi · max(0, q_idx_hi · k_idx_j); the top_k of j <= i.
Naive naive_dsa(const attenta::DsaInputs& x, const attenta::DsaOptions& options) {
    const std::int64_t first = x.kv.length(0) - x.q.tokens;
    return naive_over(x.q, x.kv, naive_scale(options.scale, x.q.dim), [&](std::int64_t, std::int64_t i) {
        std::vector<double> score;
        for (std::int64_t j = 0; j <= first + i; ++j) {
            double s = 0;
            for (std::int64_t h = 0; h < x.q_idx.heads; ++h)
                s += double{x.w_idx.row(h, i)[0]} *
                     std::max(0.0, naive_dot(x.q_idx.row(h, i), x.k_idx.row(0, j), x.q_idx.dim));
            score.push_back(s);
        }
        return best(score, options.top_k);
    });
}

const auto& mechanism = test_sparse<&attenta::dsa, naive_dsa>({
    .name = "dsa",
    .variants = {{"one index head", [](SparseCase& c) { c.sizes["Gi"] = 1; }},
                 {"16 index heads", [](SparseCase& c) { c.sizes["Gi"] = 16; }},
                 {"top 1", [](SparseCase& c) { options_of<attenta::DsaOptions>(c).top_k = 1; }}},
    .sizes =
        [](SparseCase& c) {
            c.sizes["Gi"] = 3, c.sizes["Di"] = 12;
            options_of<attenta::DsaOptions>(c).top_k = 9;
        },
    .everything = [](SparseCase& c) { options_of<attenta::DsaOptions>(c).top_k = 4096; },
    .outputs = {{"index_score", set_output<&attenta::DsaOutputs::index_score>}},
    .select = Selection<&attenta::dsa_lists>::call,
});

}  // namespace
}  // namespace attenta_test
