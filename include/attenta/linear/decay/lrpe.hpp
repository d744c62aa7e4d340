// Linearised relative positional encoding with decay (LRPE-d). Qin et al. 2023, "Scaling TransNormer to 175 Billion Parameters".
//
//   a_ts = Σ_d q_td k_sd cos(θ_d (t − s)) · exp(g (t − s)),   o_t = Σ_{s ≤ t} a_ts v_s
//
//   Lightning attention (lightning.hpp) on features [x cos(θ p), x sin(θ p)] at the absolute position p. Not causal: all
//   keys, without decay. Time T·2D·Dv per head, state 2D·Dv.
#pragma once

#include <attenta/core/saturating.hpp>
#include <attenta/linear/feature_maps.hpp>

ATTENTA_BEGIN

/// theta are angles by token, g the natural logarithm of the decay, <= 0. Heads as in gla.hpp: Hs = max(Hk, Hv) state heads,
/// Ho = max(Hq, Hs) output heads.
struct LrpeInputs {
    Heads<const float> q, k, v, theta, g = {};
    static constexpr const char *output = "[Ho, T, Dv]", *state = "[Hs, F, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hk, T, D]");
        visit("v", x.v, "[Hv, T, Dv]");
        visit("theta", x.theta, "[Hs, D]");
        visit("g", x.g, "[Hs]", Input::optional | Input::gate);
    }
};

struct LrpeOptions {
    bool causal = true;       ///< token t reads tokens up to its own, with decay; otherwise all, the state's too
    std::int64_t offset = 0;  ///< position of the first token: the state is made of absolute positions
    bool check_data = false;  ///< refuse NaN anywhere and gates above 0, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("causal", o.causal, "token t reads tokens up to its own, with decay");
        visit("offset", o.offset, "position of the first token");
        visit("check_data", o.check_data, "refuse NaN and gates above 0");
    }
};

namespace detail {

/// q and k of a request pass the map, which doubles their width.
inline void turn(scan::Request& r, const features::Lrpe& map) {
    r.features = saturating::multiply(2, r.k.dim);
    r.q_map = r.k_map = {features::lrpe_features(), &map};
}

}  // namespace detail

/// o [Ho, T, Dv], the state [Hs, 2D, Dv], cosines first. Throws Error on shapes that do not fit, and on bad numbers with
/// `check_data`; nothing is written then.
inline void lrpe(const LrpeInputs& x, Heads<float> o, LinearState& state, const LrpeOptions& options = {},
                 Context& context = default_context()) {
    const features::Lrpe turned{x.theta, options.offset};
    scan::Request r{.function = "lrpe", .q = x.q, .k = x.k, .v = x.v};
    if (options.causal) r.g = x.g;
    r.causal = options.causal;
    detail::require_offset("lrpe", options.offset, x.k.tokens);
    detail::turn(r, turned);
    scan::check_and_run(x, r, o, state, options.check_data, context);
}

ATTENTA_END
