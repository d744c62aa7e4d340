// SEA: sparse attention over the keys that an estimated, compressed attention matrix selects, mixed with an average. Lee et al.
// 2024, "SEA: Sparse Linear Attention with Estimated Attention Mask".
//
//   of estimate [Hq, Tq, W] the largest B = round(budget) of each group of entries are kept, the lowest index on ties;
//     group          entries of                          budget
//     query          one query of one head               k W / n_i
//     causal_batch   one query, all heads                Hq k W / n_i
//     head           all queries of one head             Tq k W / Tk
//     batch          all                                 Hq Tq k W / Tk
//   query i, which sees n_i keys, reads key j where entry floor((j + 1/2) W / n_i − 1e-4) is kept
//   o_i = g_i sigmoid(row_scale_i) softmax-attention over these keys + (1 − g_i) average_i,   g = sigmoid(mix_gate)
//   average_i = mean of the v_j seen; not causal: Σ_j w_j v_j, w_j the mean over queries of key j's entry
//
//   An entry is a run of keys, so a query reads a list of runs. Time k·(D + Dv) for each query, Tk·Dv for the average.
//   The estimator is the caller's.
#pragma once

#include <attenta/sparse/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

enum class SeaGroup : std::uint8_t { causal_batch, batch, head, query };
constexpr std::array<std::string_view, 4> names_of(SeaGroup) { return {"causal_batch", "batch", "head", "query"}; }

/// mix_gate and row_scale are logits. Causal queries are the last Tq of Tk tokens, otherwise Tq = Tk.
struct SeaInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> estimate, mix_gate, row_scale = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("estimate", x.estimate, "[Hq, Tq, W]");
        visit("mix_gate", x.mix_gate, "[Hq, Tq]");
        visit("row_scale", x.row_scale, "[Hq, Tq]", Input::optional);
    }
};

struct SeaOptions {
    bool causal = true;  ///< query i sees keys up to its own; goes with causal_batch alone, the others would look ahead
    SeaGroup group = SeaGroup::causal_batch;
    std::int64_t k = 7;               ///< keys wanted for a query
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("causal", o.causal, "query i sees keys up to its own");
        visit("group", o.group, "causal_batch, batch, head or query: among which entries the largest are kept");
        visit("k", o.k, "keys wanted for a query");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// lse is that of the keys that are read.
struct SeaOutputs : SparseOutputs {
    std::int64_t* kept = nullptr;  ///< [Hq, Tq, W], 1 where an entry is kept; or null
};

/// Throws Error on shapes and options that do not fit; nothing is written then.
void sea(const SeaInputs& x, const SeaOutputs& out, const SeaOptions& options = {},
         Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/sea.inl>
#endif
