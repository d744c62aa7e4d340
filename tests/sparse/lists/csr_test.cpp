#include <attenta/sparse/lists/csr.hpp>

#include "sparse/support/mechanism.hpp"

namespace attenta_test {
namespace {

std::int64_t list_head(std::int64_t h, std::int64_t heads, std::int64_t lists) { return h / (heads / lists); }

Naive naive_csr(const attenta::CsrInputs& x, const attenta::CsrOptions& options) {
    const attenta::Heads<const float> k = k_of(x.kv), v = v_of(x.kv);
    const double scale = naive_scale(options.scale, x.q.dim);
    Naive result = naive_result(x.q, x.kv);
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::int64_t i = 0; i < x.q.tokens; ++i) {
            const auto list = static_cast<std::size_t>(list_head(h, x.q.heads, options.index_heads) * x.q.tokens + i);
            NaiveRow row;
            for (auto e = static_cast<std::size_t>(x.indptr[list]); e < static_cast<std::size_t>(x.indptr[list + 1]);
                 ++e) {
                const std::int64_t j = x.indices[e], kv_head = h / (x.q.heads / k.heads);
                if (options.causal && j > k.tokens - x.q.tokens + i) continue;
                row.add(scale * naive_dot(x.q.row(h, i), k.row(kv_head, j), x.q.dim) +
                            (x.bias.empty() ? 0.0 : double{x.bias[e]}),
                        v.row(kv_head, j));
            }
            row.finish(result, h, i);
        }
    return result;
}

/// Lists of a third of the keys in random order, some empty, with a bias where `biased`.
void draw(SparseCase& c, bool biased) {
    std::vector<std::int64_t> indptr = {0}, indices;
    for (std::int64_t n = 0; n < options_of<attenta::CsrOptions>(c).index_heads * c.shape.Tq; ++n) {
        for (const std::int32_t j : c.random.permutation(c.shape.Tk))
            if (n % 7 != 6 && j % 3 == n % 3) indices.push_back(j);
        indptr.push_back(static_cast<std::int64_t>(indices.size()));
    }
    if (biased) c.put("bias", 1, 1, static_cast<std::int64_t>(indices.size()));
    c.put_integers("indptr", std::move(indptr));
    c.put_integers("indices", std::move(indices));
}

attenta::CsrOptions& options(SparseCase& c) { return options_of<attenta::CsrOptions>(c); }

const auto& mechanism = test_sparse<&attenta::csr, naive_csr>({
    .name = "csr",
    .positions = attenta::Positions::none,
    .variants = {{"a list per K/V head", [](SparseCase& c) { options(c).index_heads = c.shape.Hkv; }},
                 {"a list per head", [](SparseCase& c) { options(c).index_heads = c.shape.Hq; }},
                 {"biased", [](SparseCase& c) { c.words = "biased"; }}},
    .fill = [](SparseCase& c) { draw(c, c.words.find("biased") != std::string::npos); },
    .causal = false,
});

}  // namespace
}  // namespace attenta_test
