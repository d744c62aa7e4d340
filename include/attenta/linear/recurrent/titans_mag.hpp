// Titans with its memory as a gate (MAG). Behrouz et al. 2025, "Titans: Learning to Memorize at Test Time", eq. 26-28.
//
//   y_i = softmax attention of q_i over the persistent keys and the tokens j with i − window < j <= i
//   m_i = what the memory recalls (titans.hpp)
//   o_i = n(y_i; norm_attn) ⊙ sigmoid(n(m_i; norm_mem)),   n(x; w) = x / sqrt(mean x² + eps) · w, or x
//
//   The paper leaves the gate free; this is that of the public implementations. Persistent tokens are always visible. For the
//   memory to see them too, as in the paper, its first state is what titans makes of them.
//   Time window·T·D per head and that of titans, state that of titans.
#pragma once

#include <attenta/linear/recurrent/titans.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

enum class TitansMagNorm : std::uint8_t { rms, none };
constexpr std::array<std::string_view, 2> names_of(TitansMagNorm) { return {"rms", "none"}; }

/// Persistent tokens may be none. The weights of the norms are given with norm rms alone.
struct TitansMagInputs {
    Heads<const float> q, k, v, persistent_k = {}, persistent_v = {};
    TitansInputs memory;
    Heads<const float> norm_attn = {}, norm_mem = {};
    static constexpr const char* output = "[H, T, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, T, D]");
        visit("k", x.k, "[H, T, D]");
        visit("v", x.v, "[H, T, Dv]");
        visit("persistent_k", x.persistent_k, "[H, TN, D]", Input::optional);
        visit("persistent_v", x.persistent_v, "[H, TN, Dv]", Input::optional);
        visit("mem_q", x.memory.q, "[H, T, Dm]");
        visit("mem_k", x.memory.k, "[H, T, Dm]");
        visit("mem_v", x.memory.v, "[H, T, Dv]");
        visit("mem_theta", x.memory.theta, "[H, T]");
        visit("mem_alpha", x.memory.alpha, "[H, T]");
        visit("mem_eta", x.memory.eta, "[H, T]");
        visit("norm_attn", x.norm_attn, "[H, Dv]", Input::optional);
        visit("norm_mem", x.norm_mem, "[H, Dv]", Input::optional);
    }
};

/// chunk, read, loss_scale, activation and residual are the memory's, whose other options are those of TitansOptions.
struct TitansMagOptions {
    std::int64_t window = 0;          ///< tokens that a query sees, its own among them; at least 1
    std::optional<float> scale = {};  ///< of the scores, default 1/sqrt(D)
    TitansMagNorm norm = TitansMagNorm::rms;
    float eps = 1e-6f;
    std::int64_t chunk = 1;
    TitansRead read = TitansRead::after;
    float loss_scale = 1;
    TitansActivation activation = TitansActivation::gelu;
    bool residual = false;
    bool check_data = false;  ///< as TitansOptions has it

    static void fields(auto&& visit, auto& o) {
        visit("window", o.window, "tokens that a query sees, its own among them");
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(D)");
        visit("norm", o.norm, "of both branches: rms or none");
        visit("eps", o.eps, "added to the mean square");
        visit("chunk", o.chunk, "tokens whose gradients are taken at the same weights");
        visit("read", o.read, "after a token's own update, or before");
        visit("loss_scale", o.loss_scale, "factor of the squared error");
        visit("activation", o.activation, "of two layers: gelu, silu or relu");
        visit("residual", o.residual, "adds the memory's input to its output");
        visit("check_data", o.check_data, "refuse NaN, theta below 0, alpha and eta outside of [0, 1]");
    }
};

/// o [H, T, Dv]. `state` is the memory's; the window begins with the call's first token. Throws Error on shapes and options
/// that do not fit, and on bad numbers with `check_data`; nothing is written then.
void titans_mag(const TitansMagInputs& x, Heads<float> o, TitansState& state, const TitansMagOptions& options = {},
                Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/recurrent/titans_mag.inl>
#include <attenta/linear/recurrent/titans_mag_kernels.inl>
#endif
