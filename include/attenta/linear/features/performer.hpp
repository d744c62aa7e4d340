// Performer (FAVOR+): softmax attention by positive random features. Choromanski et al. 2021, "Rethinking Attention with Performers".
//
//   softmax:  φ(q)_m = r (exp(c w_m·q − c²|q|²/2 − max_m' c w_m'·q) + eps),  φ(k)_m = r (exp(c w_m·k − c²|k|²/2 − K) + eps)
//   relu:     φ(x)_m = relu(r c w_m·x) + eps
//   o_i = Σ_j φ(q_i)·φ(k_j) v_j / (den_i + 2 δ [|den_i| <= δ]),  den_i = Σ_j φ(q_i)·φ(k_j)
//
//   c = D^(−1/4) with normalize_data, r = M^(−1/2) with ratio, K the largest c w_m·k_j of the head. As published, K of a
//   causal call looks at all its keys; for streaming give a fixed key_max. Time T·M·(D + Dv) per head, state M·(Dv + 1).
#pragma once

#include <attenta/linear/feature_maps.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

enum class PerformerKernel : std::uint8_t { softmax, relu };
constexpr std::array<std::string_view, 2> names_of(PerformerKernel) { return {"softmax", "relu"}; }

/// Hkv divides Hq; causal calls have Tq <= Tk. key_max is K; default: that of the state, for an empty one the largest of
/// the call.
struct PerformerInputs {
    Heads<const float> q, k, v;
    Matrices<const float> projection;
    std::span<const float> key_max = {};
    static constexpr const char *output = "[Hq, Tq, Dv]", *state = "[Hkv, M, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("projection", x.projection, "[M, D]");
        visit("key_max", x.key_max, "[Hkv]", Input::optional);
    }
};

struct PerformerOptions {
    PerformerKernel kernel = PerformerKernel::softmax;
    bool causal = false;                      ///< query i stands at Tk − Tq + i and reads keys up to its own
    std::optional<bool> normalize_data = {};  ///< default: softmax true, relu false
    bool ratio = true;
    std::optional<float> eps = {};     ///< default: softmax 1e-6, relu 1e-3
    float denominator_stabilizer = 0;  ///< δ
    bool check_data = false;           ///< refuse NaN anywhere, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("kernel", o.kernel, "softmax or relu");
        visit("causal", o.causal, "query i reads keys up to its own");
        visit("normalize_data", o.normalize_data, "c = D^(-1/4)");
        visit("ratio", o.ratio, "r = M^(-1/2)");
        visit("eps", o.eps, "added to the features");
        visit("denominator_stabilizer", o.denominator_stabilizer, "keeps small denominators away from 0");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [Hq, Tq, Dv]. The state has a normalizer [Hkv, M] and, for softmax, key_max [Hkv], without which it cannot go on.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void performer(const PerformerInputs& x, Heads<float> o, LinearState& state, const PerformerOptions& options = {},
               Context& context = default_context());

/// A projection [M, dim]: blocks of dim orthogonal directions, each row as long as a standard normal vector ("chi"), or
/// sqrt(dim) with `fixed_length`. The same for the same seed. In the compiled
/// library alone.
std::vector<float> performer_projection(std::int64_t features, std::int64_t dim, std::uint64_t seed,
                                        bool fixed_length = false);

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/performer.inl>
#endif
