// Titans, a neural long-term memory. Behrouz et al. 2025, "Titans: Learning to Memorize at Test Time", eq. 8-18.
//
//   M(x) = [x +] [LN](W1ᵀ x)  or, with two layers,  [x +] [LN](W2ᵀ σ(W1ᵀ x))
//   u_t = ∇ loss_scale · ‖M(k_t) − v_t‖²     in the weights, at those of the last token of the chunk before
//   Z_t = η_t Z_{t-1} − θ_t u_t,   W_t = (1 − α_t) W_{t-1} + Z_t
//   o_t = M_t(q_t), or of the weights before
//
//   The memory is trained while it is read. Every u is an outer product l rᵀ of vectors that the chunk's first weights give, so
//   that tokens of a chunk go in matrix products: x W_t = b_t x W_0 + f_t x Z_0 − Σ_{j≤t} G_tj (x·l_j) r_jᵀ, with the coefficients
//   of the recursion above. One token is one pass over W and Z.
//   Time T·D·Dv, or T·E·(D + Dv) with E hidden channels, about three times that; state 2·D·Dv or 2·E·(D + Dv) per head.
#pragma once

#include <attenta/linear/feature_maps.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

enum class TitansActivation : std::uint8_t { gelu, silu, relu };
constexpr std::array<std::string_view, 3> names_of(TitansActivation) { return {"gelu", "silu", "relu"}; }
enum class TitansRead : std::uint8_t { after, before };
constexpr std::array<std::string_view, 2> names_of(TitansRead) { return {"after", "before"}; }
enum class TitansNorm : std::uint8_t { none, layer };
constexpr std::array<std::string_view, 2> names_of(TitansNorm) { return {"none", "layer"}; }

/// Step size θ >= 0, forgetting α and momentum η in [0, 1], through their activations already.
struct TitansInputs {
    Heads<const float> q, k, v, theta, alpha, eta;
    static constexpr const char* output = "[H, T, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, T, D]");
        visit("k", x.k, "[H, T, D]");
        visit("v", x.v, "[H, T, Dv]");
        visit("theta", x.theta, "[H, T]");
        visit("alpha", x.alpha, "[H, T]");
        visit("eta", x.eta, "[H, T]");
    }
};

/// What the memory has learned: a layer's weights W and their momentum Z, of the same shape; empty ones are zeros.
struct TitansLayer {
    LinearState weights, momentum;
};
/// One layer [H, D, Dv]; or two, [H, D, E] and [H, E, Dv], whose weights are given, because zeros learn nothing. A model's
/// initial weights are its first state.
struct TitansState {
    TitansLayer first, second;

    bool two_layers() const { return !second.weights.empty(); }
};

/// The published model has two layers with E = 4 D, gelu, residual, norm layer, qk_l2norm.
struct TitansOptions {
    std::int64_t chunk = 1;  ///< tokens whose gradients are taken at the same weights, counted from the call's first
    TitansRead read = TitansRead::after;
    float loss_scale = 1;  ///< the gradient has the factor 2; 1/2 gives the paper's eq. 17
    TitansActivation activation = TitansActivation::gelu;
    bool residual = false;  ///< needs D = Dv
    TitansNorm norm = TitansNorm::none;
    float norm_eps = 1e-5f;
    bool qk_l2norm = false;  ///< q and k are divided by sqrt(Σ x² + eps) first
    float eps = 1e-6f;
    bool check_data = false;  ///< refuse NaN anywhere, θ below 0, α and η outside of [0, 1], for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("chunk", o.chunk, "tokens whose gradients are taken at the same weights");
        visit("read", o.read, "after a token's own update, or before");
        visit("loss_scale", o.loss_scale, "factor of the squared error");
        visit("activation", o.activation, "of two layers: gelu, silu or relu");
        visit("residual", o.residual, "adds the input to the output");
        visit("norm", o.norm, "of the output: none, or layer without weights");
        visit("norm_eps", o.norm_eps, "added to the variance");
        visit("qk_l2norm", o.qk_l2norm, "normalise q and k");
        visit("eps", o.eps, "added to the squared norm");
        visit("check_data", o.check_data, "refuse NaN, theta below 0, alpha and eta outside of [0, 1]");
    }
};

/// o [H, T, Dv]. `state` is read as the past and left at the end of the tokens. With chunk > 1 a sequence may be cut where a
/// chunk ends: the weights inside one are not kept.
/// One layer without norm diverges where θ · 2 loss_scale · ‖k‖² reaches 2 (1 + η); nothing is clipped.
/// Throws Error on shapes and options that do not fit, and on bad numbers with `check_data`; nothing is written then.
void titans(const TitansInputs& x, Heads<float> o, TitansState& state, const TitansOptions& options = {},
            Context& context = default_context());

namespace detail {

/// The same in two parts, for mechanisms that have such a memory: `inputs` are what the caller calls them.
void check_titans(const char* function, std::span<const Input> inputs, const TitansInputs& x, Heads<float> o,
                  const TitansState& state, const TitansOptions& options);
void run_titans(const TitansInputs& x, Heads<float> o, TitansState& state, const TitansOptions& options,
                Context& context);

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#include <attenta/linear/recurrent/chunk_kernels.inl>
#include <attenta/linear/recurrent/titans.inl>
#include <attenta/linear/recurrent/titans_kernels.inl>
#endif
