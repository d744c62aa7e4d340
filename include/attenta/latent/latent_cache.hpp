// Latents and their rotary keys as K and V: what a cache of latent attention looks like to the loops.
//
// A key is the latent, then the rotary key of its token; a value is the latent. So the view's values are the latents, its
// keys the rotary keys, and `tied` says that keys begin with their values: memory is read once for both. Latents and rotary
// keys may be of any type, codes too, and lie side by side in one row or apart, in pages or not:
//
//     KvView cache = latent_cache(hnd(c_kv, 1, tokens, R), hnd(k_pe, 1, tokens, Dr));
//     KvView cache = KvView::paged(k_pe_page, c_kv_page, pages);  cache.tied = R;
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/kv_view.hpp>

#include <cstdint>
#include <string>

ATTENTA_BEGIN

/// c_kv [G, Tk, R], k_pe [1, Tk, Dr] for all G groups or [G, Tk, Dr]. Throws Error where tokens or heads do not fit.
template <class C, class P>
KvView latent_cache(const Heads<C>& c_kv, Heads<P> k_pe) {
    if (k_pe.heads == 1 && c_kv.heads > 1) {
        k_pe.heads = c_kv.heads;
        k_pe.head_stride = 0;
    }
    if (k_pe.heads != c_kv.heads || k_pe.tokens != c_kv.tokens)
        fail("latent_cache", "k_pe has " + std::to_string(k_pe.heads) + " heads of " + std::to_string(k_pe.tokens) +
                                 " tokens, c_kv has " + std::to_string(c_kv.heads) + " of " +
                                 std::to_string(c_kv.tokens));
    KvView kv = KvView::of(k_pe, c_kv);
    kv.tied = c_kv.dim;
    return kv;
}

ATTENTA_END
