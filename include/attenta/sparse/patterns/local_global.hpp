// A sliding window and global tokens, the Longformer pattern. Beltagy et al. 2020, as Dai et al. 2022 have it in "Revisiting
// Transformer-based Models for Long Document Classification".
//
//   A(h, i) = |i - j| <= window · d_h with (i - j) mod d_h = 0, and all j ∈ G, each key once; all keys for i ∈ G
//
// and of these j <= i if `causal`. Rows of global tokens take q_global, k_global and v_global where they are given; the
// other rows take k and v of global keys, too. Time T·(2·window + 1 + G)·(D + Dv) per head, and G·T·(D + Dv).
#pragma once

#include <attenta/sparse/common.hpp>

#include <vector>

ATTENTA_BEGIN

struct LocalGlobalInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const std::int64_t> global_index = {};  ///< tokens of G in any order, each once
    Heads<const float> q_global = {};  ///< its row g is that of token global_index[g]; or without data: q
    KvView kv_global = {};             ///< of all T tokens; or without data: kv

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", "v", x.kv, "[Hkv, T, D]", "[Hkv, T, Dv]");
        visit("global_index", x.global_index, "[G]", Input::optional);
        visit("q_global", x.q_global, "[Hq, Tg, D]", Input::optional);
        visit("k_global", "v_global", x.kv_global, "[Hkv, T, D]", "[Hkv, T, Dv]", Input::optional);
    }
};

struct LocalGlobalOptions {
    std::int64_t window = 256;  ///< keys on either side; half of what two-sided sizes say
    std::vector<std::int64_t> dilation = {
        1};                           ///< steps from key to key of the window: one for all query heads or for each
    bool causal = false;              ///< keys after the query are not read
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("window", o.window, "keys on either side");
        visit("dilation", o.dilation, "steps from key to key of the window, one for all query heads or for each");
        visit("causal", o.causal, "keys after the query are not read");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The whole pattern, to be looked at: attention runs on its parts. The index and the options' dilation are borrowed.
/// Throws Error on options out of range.
Mask local_global_mask(std::span<const std::int64_t> global_index, const LocalGlobalOptions& options);

/// Throws Error on shapes, options and global tokens that do not fit; nothing is written then.
void local_global(const LocalGlobalInputs& x, const SparseOutputs& out, const LocalGlobalOptions& options = {},
                  Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/patterns/local_global.inl>
#endif
