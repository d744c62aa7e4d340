// Relative positions in keys and values. Shaw, Uszkoreit, Vaswani 2018, "Self-Attention with Relative Position
// Representations", eq. 3-5.
//
//   s_ij = scale · q_i·(k_j + rel_k[r(i, j)]),  o_i = Σ_j p_ij (v_j + rel_v[r(i, j)]),  r(i, j) = clip(j − i, −c, c) + c
//
// q·rel_kᵀ once, read along the keys. With rel_v a second pass over the keys sums each query's weights by distance, which then
// meet rel_v in one product.
#pragma once

#include <attenta/softmax/common.hpp>

#include <optional>

ATTENTA_BEGIN

/// Tables of 2c + 1 rows; Hr and Hv divide Hq, the paper has one table for all heads.
struct RelativeShawInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> rel_k, rel_v = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("rel_k", x.rel_k, "[Hr, TC, D]");
        visit("rel_v", x.rel_v, "[Hv, TC, Dv]", Input::optional);
    }
};

struct RelativeShawOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(D)");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit, and tables with an even number of
/// rows; nothing is written then.
void relative_shaw(const RelativeShawInputs& x, const SoftmaxOutputs& out, const RelativeShawOptions& options = {},
                   Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#include <attenta/softmax/relative/relative_shaw.inl>
#endif
