// Log-linear attention. Guo et al. 2025, "Log-Linear Attention".
//
//   o_i = scale · Σ_{j≤i} λ_i[level(i, j)] · exp(g_{j+1} + … + g_i) · (q_i·k_j) v_j,   level(i, j) = bit length of (i xor j)
//
//   What precedes a token falls into buckets of 1, 1, 2, 4, … tokens, as in a Fenwick tree, each with a state of its own that
//   is read with its own weight. Behind token i the states of levels 0 .. c join level c + 1, c the trailing ones of i: level
//   l >= 1 is in use where bit l − 1 of the number of tokens is set. Inside a chunk pairs of tokens are weighed; earlier
//   buckets are a state for each level, of which a chunk reads log2(T / chunk) at most.
//   Time T·log T·D·Dv per head, state (L + 1)·D·Dv.
#pragma once

#include <attenta/linear/common.hpp>

#include <cstdint>

ATTENTA_BEGIN

/// g is the natural logarithm of the gate, <= 0; level_weight is λ >= 0, its L at least 1 + the bit length of the position of
/// the last token. Heads as in gla.hpp.
struct LogLinearInputs {
    Heads<const float> q, k, v, g, level_weight;
    static constexpr const char *output = "[Ho, T, Dv]", *state = "[L+1, Hs, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hk, T, D]");
        visit("v", x.v, "[Hv, T, Dv]");
        visit("g", x.g, "[Hs, T]", Input::gate);
        visit("level_weight", x.level_weight, "[Hs, T, L]");
    }
};

struct LogLinearOptions {
    float scale = 1;            ///< of the output, any finite value
    std::int64_t position = 0;  ///< of the first token: tokens that the state has seen
    bool check_data = false;    ///< refuse NaN anywhere, gates above 0, weights below 0, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the output");
        visit("position", o.position, "of the first token: tokens that the state has seen");
        visit("check_data", o.check_data, "refuse NaN, gates above 0, weights below 0");
    }
};

/// o [Ho, T, Dv]. `state` is read as the past and left at the end of the tokens; an empty one becomes zeros. Its matrix is
/// [Hs, (L + 1)·D, Dv], the levels of a head behind each other; those that are not in use are neither read nor written.
/// Throws Error on shapes that do not fit, on too few levels, and on bad numbers with `check_data`; nothing is written then.
void log_linear(const LogLinearInputs& x, Heads<float> o, LinearState& state, const LogLinearOptions& options = {},
                Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#include <attenta/linear/recurrent/chunk_kernels.inl>
#include <attenta/linear/recurrent/log_linear.inl>
#include <attenta/linear/recurrent/log_linear_kernels.inl>
#endif
