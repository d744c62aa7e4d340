// Gated linear attention. Yang et al. 2024, "Gated Linear Attention Transformers", eq. 4-7.
//
//   S_t = diag(exp g_t) S_{t-1} diag(exp gv_t) + k_t v_tᵀ          S [D, Dv] per state head
//   o_t = scale · S_tᵀ q_t
//
// The gate acts on the old state alone: a token enters undecayed and is read at once. Prefill runs in chunks (matrix
// products inside, state between), decode is one step; both give the same numbers. Time T·D·Dv per head, state D·Dv.
#pragma once

#include <attenta/linear/common.hpp>

#include <optional>

ATTENTA_BEGIN

/// State heads Hs = max(Hk, Hv), output heads Ho = max(Hq, Hs); a tensor of h heads is read at h-index i / (H/h). g and gv
/// are natural logarithms of gates, <= 0 (-inf closes), of key channels, tokens or heads and of value channels.
struct GlaInputs {
    Heads<const float> q, k, v, g = {}, gv = {};
    static constexpr const char *output = "[Ho, T, Dv]", *state = "[Hs, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hk, T, D]");
        visit("v", x.v, "[Hv, T, Dv]");
        visit("g", x.g, "[Hs], [Hs, T] or [Hs, T, D]", Input::optional | Input::gate);
        visit("gv", x.gv, "[Hs, T, Dv]", Input::optional | Input::gate);
    }
};

struct GlaOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D); any finite value
    bool check_data = false;          ///< refuse NaN anywhere and gates above 0, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the output, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN and gates above 0");
    }
};

/// o [Ho, T, Dv]. Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
inline void gla(const GlaInputs& x, Heads<float> o, LinearState& state, const GlaOptions& options = {},
                Context& context = default_context()) {
    scan::Request r{.function = "gla", .q = x.q, .k = x.k, .v = x.v, .g = x.g, .gv = x.gv};
    r.scale = detail::scale_or_default(options.scale, x.q.dim);
    scan::check_and_run(x, r, o, state, options.check_data, context);
}

ATTENTA_END
