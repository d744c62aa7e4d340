// Retention (RetNet). Sun et al. 2023, "Retentive Network".
//
//   q, k ← rotated by θ · position (pairs 2i, 2i+1)
//   S_t = γ S_{t-1} + scale · k_t v_tᵀ,   o_t = S_tᵀ q_t / d_t,   γ = exp(g) per head
//
//   d_t = 1; or sqrt(n_t), n_t = γ n_{t-1} + 1 ("decay"); or sqrt(n_t) · max(|q_t·z_t| / sqrt(n_t), 1), z_t = γ z_{t-1} +
//   scale · k_t ("full", the paper's three normalisations).
#pragma once

#include <attenta/linear/feature_maps.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

enum class RetentionNorm : std::uint8_t { none, decay, full };
constexpr std::array<std::string_view, 3> names_of(RetentionNorm) { return {"none", "decay", "full"}; }

/// g is the natural logarithm of the decay, <= 0; default: retention_decay of the output heads max(Hq, Hk, Hv). Without
/// angles theta nothing is rotated. State heads Hs = max(Hk, Hv, heads of g), output heads Ho = max(Hq, Hs).
struct RetentionInputs {
    Heads<const float> q, k, v, g = {};
    std::span<const float> theta = {};
    static constexpr const char *output = "[Ho, T, Dv]", *state = "[Hs, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hk, T, D]");
        visit("v", x.v, "[Hv, T, Dv]");
        visit("g", x.g, "[Hs]", Input::optional | Input::gate);
        visit("theta", x.theta, "[D/2]", Input::optional);
    }
};

struct RetentionOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D); multiplies k, so it is inside the state
    std::int64_t offset = 0;          ///< position of the first token
    RetentionNorm score_norm = RetentionNorm::none;
    bool check_data = false;  ///< refuse NaN anywhere and gates above 0

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the keys, default 1/sqrt(D)");
        visit("offset", o.offset, "position of the first token");
        visit("score_norm", o.score_norm, "none, decay or full");
        visit("check_data", o.check_data, "refuse NaN and gates above 0");
    }
};

/// o [Ho, T, Dv]. The state has a weight with "decay" and "full", and a normalizer with "full"; a given one needs them too.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void retention(const RetentionInputs& x, Heads<float> o, LinearState& state, const RetentionOptions& options = {},
               Context& context = default_context());

/// g_h = log(1 − 2^(−5−h)).
std::vector<float> retention_decay(std::int64_t heads);

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/decay/retention.inl>
#endif
