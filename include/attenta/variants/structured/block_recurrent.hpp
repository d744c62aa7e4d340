// Block-recurrent cell. Hutchins, Schlag, Wu, Dyer and Neyshabur 2022, "Block-Recurrent Transformers".
//
//   unit(x) = x / √(Σ x² + 1e-6), attention(q, k, v, g) = softmax(|g_h| unit(q) unit(k)ᵀ) v; plain: softmax(q kᵀ / √D) v
//   1. tokens to tokens: a window of W keys, the token's own included or behind it; keys before the first are k_prev
//   For each block of W tokens, with the states c [S, E] before their update:
//   2. x = c / √(mean c² + 1e-6) · norm + pos;  K_s, V_s, Q_s, Q_c = x w_sk, x w_sv, x w_sq, x w_sqc
//   3. tokens to states: attention(q_cross, K_s, V_s, scale_cross)
//   4. r = [attention(Q_s, K_s, V_s, state_scale_self); attention(Q_c, tokens, state_scale_cross)] over the heads
//   5. skip:   c ← gate(r, r w_o, c)
//      dual:   the same, then c ← gate2(y, y w_2 + b_2, c), y = relu(rms(c, norm_ffn) w_1 + b_1)
//      single: y = relu(r w_1 + b_1), c ← gate(y, y w_2 + b_2, c)
//   gate(y, z, c): fixed: c g + z (1 − g), g = σ(b_g);  full: g = σ(y w_g + b_g + 1);
//                  lstm: c σ(y w_f + b_f + 1) + z σ(y w_i + b_i − 1);  z passes tanh where `tanh_z` says so
//
// Cut anywhere between blocks: state, k_prev and v_prev carry over. Time T·(2W + S)·D per head and, per block, what the states
// take.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class RecurrentStructure : std::uint8_t { skip, dual, single };
constexpr std::array<std::string_view, 3> names_of(RecurrentStructure) { return {"skip", "dual", "single"}; }
enum class RecurrentGate : std::uint8_t { fixed, full, lstm };
constexpr std::array<std::string_view, 3> names_of(RecurrentGate) { return {"fixed", "full", "lstm"}; }

/// Weights of a gate, [in, E]: b_g for fixed, w_g and b_g for full, the other four for lstm.
struct RecurrentGateInputs {
    std::span<const float> b_g = {};
    Matrices<const float> w_g = {};
    std::span<const float> b_f = {};
    Matrices<const float> w_f = {};
    std::span<const float> b_i = {};
    Matrices<const float> w_i = {};

    static void list(auto&& visit, auto& x) {
        visit("b_g", x.b_g, "[E]", Input::optional);
        visit("w_g", x.w_g, "[Y, E]", Input::optional);
        visit("b_f", x.b_f, "[E]", Input::optional);
        visit("w_f", x.w_f, "[Y, E]", Input::optional);
        visit("b_i", x.b_i, "[E]", Input::optional);
        visit("w_i", x.w_i, "[Y, E]", Input::optional);
    }
};

/// The gate behind the feed-forward layer of `dual`.
struct SecondRecurrentGateInputs : RecurrentGateInputs {
    static void list(auto&& visit, auto& x) {
        visit("b_g2", x.b_g, "[E]", Input::optional);
        visit("w_g2", x.w_g, "[N, E]", Input::optional);
        visit("b_f2", x.b_f, "[E]", Input::optional);
        visit("w_f2", x.w_f, "[N, E]", Input::optional);
        visit("b_i2", x.b_i, "[E]", Input::optional);
        visit("w_i2", x.w_i, "[N, E]", Input::optional);
    }
};

/// Scales are needed with `normalize_qk`. The previous block has W tokens.
struct RecurrentTokens {
    Heads<const float> q, q_cross, k, v, k_prev = {}, v_prev = {};
    std::span<const float> scale_self = {}, scale_cross = {}, state_scale_self = {}, state_scale_cross = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, T, D]");
        visit("q_cross", x.q_cross, "[H, T, D]");
        visit("k", x.k, "[H, T, D]");
        visit("v", x.v, "[H, T, D]");
        visit("k_prev", x.k_prev, "[H, TW, D]", Input::optional);
        visit("v_prev", x.v_prev, "[H, TW, D]", Input::optional);
        visit("scale_self", x.scale_self, "[H]", Input::optional);
        visit("scale_cross", x.scale_cross, "[H]", Input::optional);
        visit("state_scale_self", x.state_scale_self, "[H]", Input::optional);
        visit("state_scale_cross", x.state_scale_cross, "[H]", Input::optional);
    }
};

/// States and their projections; X = H · D.
struct RecurrentStates {
    Matrices<const float> state;
    std::span<const float> norm;
    Matrices<const float> pos, w_sk, w_sv, w_sq, w_sqc;

    static void list(auto&& visit, auto& x) {
        visit("state", x.state, "[S, E]");
        visit("norm", x.norm, "[E]");
        visit("pos", x.pos, "[S, E]");
        visit("w_sk", x.w_sk, "[E, X]");
        visit("w_sv", x.w_sv, "[E, X]");
        visit("w_sq", x.w_sq, "[E, X]");
        visit("w_sqc", x.w_sqc, "[E, X]");
    }
};

/// R = 2 · H · D, U = R for single and E for dual; Y is the width of what the gate reads, R, or N for single.
struct RecurrentUpdate {
    Matrices<const float> w_o = {}, w_1 = {};
    std::span<const float> b_1 = {};
    Matrices<const float> w_2 = {};
    std::span<const float> b_2 = {}, norm_ffn = {};

    static void list(auto&& visit, auto& x) {
        visit("w_o", x.w_o, "[R, E]", Input::optional);
        visit("w_1", x.w_1, "[U, N]", Input::optional);
        visit("b_1", x.b_1, "[N]", Input::optional);
        visit("w_2", x.w_2, "[N, E]", Input::optional);
        visit("b_2", x.b_2, "[E]", Input::optional);
        visit("norm_ffn", x.norm_ffn, "[E]", Input::optional);
    }
};

struct BlockRecurrentInputs {
    RecurrentTokens tokens;
    RecurrentStates states;
    RecurrentUpdate update = {};
    RecurrentGateInputs gate = {};
    SecondRecurrentGateInputs gate2 = {};

    /// More than an InputList holds: list by list.
    static void lists(auto&& visit, auto& x) {
        visit(x.tokens);
        visit(x.states);
        visit(x.update);
        visit(x.gate);
        visit(x.gate2);
    }
};

struct BlockRecurrentOutputs {
    Heads<float> o;         ///< [2H, T, D]: heads 0 .. H − 1 from tokens, H .. 2H − 1 from states
    Matrices<float> state;  ///< [S, E] behind the last token
};

struct BlockRecurrentOptions {
    std::int64_t window = 0;  ///< W, at least 1
    RecurrentStructure structure = RecurrentStructure::skip;
    RecurrentGate gate = RecurrentGate::fixed;
    bool include_self = true;         ///< false: keys 1 .. W behind the token, the released setting
    bool normalize_qk = true;         ///< false: plain scores
    bool state_sees_previous = true;  ///< states read the previous block, too
    std::optional<bool> tanh_z = {};  ///< default: with lstm alone
    bool check_data = false;          ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("window", o.window, "tokens of a block, and keys that a token sees");
        visit("structure", o.structure, "of the update: skip, dual or single");
        visit("gate", o.gate, "fixed, full or lstm");
        visit("include_self", o.include_self, "a token sees itself");
        visit("normalize_qk", o.normalize_qk, "unit queries and keys, with learned scales");
        visit("state_sees_previous", o.state_sees_previous, "states read the previous block, too");
        visit("tanh_z", o.tanh_z, "candidates pass tanh, default with lstm alone");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// A row without keys gives 0. Throws Error on shapes that do not fit, on weights that structure and gate need or do not want, and
/// on a window below 1; nothing is written then.
void block_recurrent(const BlockRecurrentInputs& x, const BlockRecurrentOutputs& out,
                     const BlockRecurrentOptions& options, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/dense_maps.inl>
#include <attenta/variants/structured/block_recurrent.inl>
#include <attenta/variants/structured/block_recurrent_kernels.inl>
#include <attenta/variants/structured/row_kernels.inl>
#endif
