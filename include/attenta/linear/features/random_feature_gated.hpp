// Random feature attention with a sentential gate. Wu et al. 2022, "Modeling Context With Linear Attention for Scalable
// Document-Level Translation"; Peng et al. 2021, "Random Feature Attention". W = projection · diag(sigma) / tau.
//
//   trig:      x̃ = x / (|x| + 1e-3),  φ(x) = s [sin W x̃, cos W x̃]        positive:  x̃ = D^(−1/4) x,
//                                                                         φ(x) = s exp(W x̃ − |x̃|²/2 − max W x̃)
//   S ← own_u S + put_u φ(k_u) v_uᵀ,   o = Sᵀ φ(q) / max(z·φ(q), eps),   S ← keep_u S       z likewise, without v
//
//   gate_mode   own_u     put_u                                            keep_u
//   none        1         1                                                1
//   decay       1         1                                                gate_u at a separator, else 1
//   convex      1         1 − gate of the last separator before u, or 1    gate_u at a separator, else 1
//   token       gate_u    1 − gate_u                                       1
//
//   Time T·M·(D + 2F/M Dv) per head, state F (Dv + 1); F = 2M for trig, M for positive.
#pragma once

#include <attenta/linear/feature_maps.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class RandomFeature : std::uint8_t { trig, positive };
constexpr std::array<std::string_view, 2> names_of(RandomFeature) { return {"trig", "positive"}; }
enum class SentenceGate : std::uint8_t { none, decay, convex, token };
constexpr std::array<std::string_view, 4> names_of(SentenceGate) { return {"none", "decay", "convex", "token"}; }

/// Hkv divides Hq. Causal calls have Tq <= Tk: the first Tk − Tq keys are history. gate is in [0, 1], behind its sigmoid;
/// separator is 1 at the last token of a sentence, else 0.
struct RandomFeatureGatedInputs {
    Heads<const float> q, k, v, projection, sigma = {}, gate = {};
    std::span<const std::int64_t> separator = {};
    static constexpr const char *output = "[Hq, Tq, Dv]", *state = "[Hkv, F, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("projection", x.projection, "[Hkv, TM, D]");
        visit("sigma", x.sigma, "[Hkv, D]", Input::optional);
        visit("gate", x.gate, "[Hkv, Tk]", Input::optional);
        visit("separator", x.separator, "[Tk]", Input::optional);
    }
};

struct RandomFeatureGatedOptions {
    RandomFeature random_feature = RandomFeature::trig;
    float feature_scale = 0.1f;  ///< s; sqrt(1/M) makes trig an unbiased Gaussian kernel
    float eps = 0.1f;            ///< least denominator: weights of trig are signed
    float tau = 1;
    bool causal = true;  ///< query i stands at Tk − Tq + i and reads keys up to its own
    SentenceGate gate_mode = SentenceGate::none;
    bool check_data = false;  ///< refuse NaN anywhere and gates outside of [0, 1], for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("random_feature", o.random_feature, "trig or positive");
        visit("feature_scale", o.feature_scale, "factor of the features");
        visit("eps", o.eps, "least denominator");
        visit("tau", o.tau, "divides the projections");
        visit("causal", o.causal, "query i reads keys up to its own");
        visit("gate_mode", o.gate_mode, "none, decay, convex or token");
        visit("check_data", o.check_data, "refuse NaN and gates outside of [0, 1]");
    }
};

/// o [Hq, Tq, Dv]. The state has a normalizer [Hkv, F] and, for convex, as weight [Hkv] the gate of the last separator.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void random_feature_gated(const RandomFeatureGatedInputs& x, Heads<float> o, LinearState& state,
                          const RandomFeatureGatedOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/random_feature_gated.inl>
#endif
