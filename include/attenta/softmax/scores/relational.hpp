// Relational heads of dual attention: weights gather relations between tokens and symbols in place of values. Altabaa, Lafferty
// 2024, "Disentangling and Integrating Relational and Sensory Information in Transformer Architectures", section 2.
//
//   α_h = softmax(scale · q_attn_h k_attn_hᵀ),  r_ij,l = act(rel_scale · q_rel_l,i·k_rel_l,j),  l < R, for all heads
//   o_i^h = Σ_j α_ij^h (w_rel^h r_ij + s_ij^h)
//
// Symbols s: given for each key; rows of a library by position, by clipped distance, or retrieved by softmax from templates,
// times w_symbol. Relations are averaged first, [H, Tq, R], and meet w_rel in one product. Sensory heads, softmax attention
// beside, are a call of their own: softmax_attention.
#pragma once

#include <attenta/softmax/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

/// Hs divides H. A library is [P, M], for retrieved symbols [S, N, Dl] with S·Dl = M.
struct RelationalInputs {
    Heads<const float> q_attn, k_attn, q_rel, k_rel, w_rel;
    Heads<const float> symbols = {}, symbol_library = {}, w_symbol = {}, symbol_q = {}, templates = {};

    static void list(auto&& visit, auto& x) {
        visit("q_attn", x.q_attn, "[H, Tq, D]");
        visit("k_attn", x.k_attn, "[Hkv, Tk, D]");
        visit("q_rel", x.q_rel, "[R, Tq, Dr]");
        visit("k_rel", x.k_rel, "[R, Tk, Dr]");
        visit("w_rel", x.w_rel, "[H, Ds, R]");
        visit("symbols", x.symbols, "[Hs, Tk, Ds]", Input::optional);
        visit("symbol_library", x.symbol_library, "[P, M] or [S, TN, Dl]", Input::optional);
        visit("w_symbol", x.w_symbol, "[Hs, M, Ds]", Input::optional);
        visit("symbol_q", x.symbol_q, "[S, Tk, Dk]", Input::optional);
        visit("templates", x.templates, "[S, TN, Dk]", Input::optional);
    }
};

enum class RelationActivation : std::uint8_t { identity, relu, sigmoid, tanh, gelu, silu };
constexpr std::array<std::string_view, 6> names_of(RelationActivation) {
    return {"identity", "relu", "sigmoid", "tanh", "gelu", "silu"};
}
enum class Symbols : std::uint8_t { given, position, relative, symbolic };
constexpr std::array<std::string_view, 4> names_of(Symbols) { return {"given", "position", "relative", "symbolic"}; }

struct RelationalOptions {
    std::optional<float> scale = {};      ///< default 1/sqrt(D)
    std::optional<float> rel_scale = {};  ///< default 1/sqrt(Dr)
    RelationActivation rel_activation = RelationActivation::identity;
    Symbols symbols = Symbols::given;
    std::optional<float> symbol_scale = {};  ///< of retrieval, default 1/sqrt(Dk)
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(D)");
        visit("rel_scale", o.rel_scale, "factor of the relations, default 1/sqrt(Dr)");
        visit("rel_activation", o.rel_activation, "identity, relu, sigmoid, tanh, gelu (its tanh form) or silu");
        visit("symbols", o.symbols, "given, position, relative or symbolic");
        visit("symbol_scale", o.symbol_scale, "factor of the retrieval's scores, default 1/sqrt(Dk)");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// o [H, Tq, Ds], lse [H, Tq] of the weights or null. Throws Error on shapes and options that do not fit, a library with an even
/// number of relative rows or with fewer rows than positions; nothing is written then.
void relational(const RelationalInputs& x, const SoftmaxOutputs& out, const RelationalOptions& options = {},
                Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#include <attenta/softmax/scores/relational.inl>
#include <attenta/softmax/scores/relational_kernels.inl>
#endif
