// Attention over given lists of keys, the form that all selections of single keys come down to.
//
//   A(h, i) = indices[indptr[x · Tq + i] .. indptr[x · Tq + i + 1]),  x = h / (Hq / index_heads)
//   s_ij = scale · q_i·k_j + bias of the entry,  o_i = Σ_{j ∈ A} exp(s_ij − lse_i) v_j
//
// Rows of K and V are read where they lie. Time nnz·(D + Dv) per head.
#pragma once

#include <attenta/sparse/common.hpp>

ATTENTA_BEGIN

/// The order of a list is free; a key twice in one is refused, for it would count twice.
struct CsrInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const std::int64_t> indptr, indices;
    std::span<const float> bias = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("indptr", x.indptr, "[P]", Input::optional);
        visit("indices", x.indices, "[N]", Input::optional);
        visit("bias", x.bias, "[N]", Input::optional);
    }
};

struct CsrOptions {
    std::int64_t index_heads = 1;     ///< 1, Hkv or Hq: a list for all heads, for each K/V head, for each query head
    bool causal = false;              ///< listed keys after the query are not read; Tq may exceed Tk otherwise
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("index_heads", o.index_heads, "lists: 1 for all heads, Hkv, or Hq");
        visit("causal", o.causal, "listed keys after the query are not read");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Throws Error on lists that KeyLists::csr refuses, and on shapes that do not fit; nothing is written then.
inline void csr(const CsrInputs& x, const SparseOutputs& out, const CsrOptions& options = {},
                Context& context = default_context()) {
    const auto call =
        detail::check_sparse("csr", x, out, options, options.causal ? Positions::last : Positions::none, context);
    const detail::CallLists lists(call, nullptr);
    lists->assign_csr({options.index_heads, x.q.tokens, call.keys()}, x.indptr, x.indices, x.bias);
    call.attend(*lists, options.causal ? Mask(Causal{}) : Mask());
}

ATTENTA_END
