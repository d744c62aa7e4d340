// Grouped-tied attention: one state serves as key and as value. Zadouri, Strauss, Dao 2025, "Hardware-Efficient Attention for
// Fast Decoding", section 3.2.
//
//   k_gj = [u_gj[0 : D − Dr], k^r_j],  v_gj = u_gj,  o_hi = Σ_j softmax_j(scale · q_hi·k_gj) v_gj,  scale = 1/sqrt(D)
#pragma once

#include <attenta/latent/latent_cache.hpp>
#include <attenta/softmax/softmax.hpp>

ATTENTA_BEGIN

/// kv [Hkv, Tk, D] and the rotated keys k_pe [1, Tk, Dr] of all heads, Dr < D, as K and V of softmax_attention: the first
/// D − Dr channels of a key are those of its value.
template <class U, class P>
KvView tied_cache(const Heads<U>& kv, const Heads<P>& k_pe) {
    if (k_pe.dim < 1 || k_pe.dim >= kv.dim)
        fail("tied_cache", "k_pe has " + std::to_string(k_pe.dim) + " features, needs 1 to fewer than the " +
                               std::to_string(kv.dim) + " of kv");
    KvView view = latent_cache(kv, k_pe);
    view.tied = kv.dim - k_pe.dim;
    return view;
}

/// q [Hq, Tq, D] whose last Dr channels are rotated; kv as tied_cache gives it, or a paged view with `tied` set. o [Hq, Tq, D],
/// lse [Hq, Tq] or null. All options of softmax_attention hold; the paper's attention is causal.
/// Throws Error on shapes that do not fit; nothing is written then.
inline void grouped_tied(Heads<const float> q, const KvView& kv, Heads<float> o,
                         const SoftmaxOptions& options = {.causal = true}, float* lse = nullptr,
                         Context& context = default_context()) {
    if (kv.tied < 1 || kv.k.dim < 1 || kv.key_dim() != kv.v.dim)
        fail("grouped_tied", "keys have " + std::to_string(kv.k.dim) + " features behind " + std::to_string(kv.tied) +
                                 " of their values, needs the " + std::to_string(kv.v.dim) + " of a value");
    softmax_attention(q, kv, o, options, lse, context);
}

ATTENTA_END
