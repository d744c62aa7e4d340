// Grouped latent attention: MLA with a latent for each group of heads, so that a cache can be split over devices. Zadouri,
// Strauss, Dao 2025, "Hardware-Efficient Attention for Fast Decoding", section 3.3.
//
//   s_hij = scale · (q^n_hi·W^UK_h c_gj + q^r_hi·k^r_j),  o_hi = Σ_j softmax(s_hi)_j W^UV_h c_gj,    g = h / (Hq / G)
#pragma once

#include <attenta/latent/mla.hpp>

ATTENTA_BEGIN

/// As mla, with kv = latent_cache(c_kv [G, Tk, R], k_pe [1, Tk, Dr]); G divides Hq.
void grouped_latent(const MlaInputs& x, const LatentOutputs& out, const MlaOptions& options = {},
                    Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/dense.inl>
#include <attenta/latent/mla.inl>
#endif
