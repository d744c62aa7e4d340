// Linear attention with elementwise feature maps. Katharopoulos et al. 2020, "Transformers are RNNs"; cosFormer: Qin et al. 2022.
//
//   a_ij = scale · φ(q_i)·φ(k_j),   num_i = Σ_j a_ij v_j,   den_i = Σ_j a_ij       (the state's share included)
//   o_i = num_i,  num_i / (den_i + eps)  or  num_i / max(den_i, eps)
//
//   Time T·F·Dv per head, state F·(Dv + 1); F = D, 2 D for cos.
//
//   exp works in units of a power of two for each query and each channel of keys, which the quotient cancels: right for
//   queries of any size and keys from e^-700 to e^700 side by side. What a float cannot hold is lost in the state, which is
//   plain sums (keys beyond e^88 overflow in it and spoil the calls that go on from it), and without `normalize`.
#pragma once

#include <attenta/linear/feature_maps.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

enum class KernelFeature : std::uint8_t { elu1, relu, squared_relu, exp, identity, softmax, cos };
constexpr std::array<std::string_view, 7> names_of(KernelFeature) {
    return {"elu1", "relu", "squared_relu", "exp", "identity", "softmax", "cos"};
}
enum class KernelDenominator : std::uint8_t { add, clamp };
constexpr std::array<std::string_view, 2> names_of(KernelDenominator) { return {"add", "clamp"}; }

/// Hkv divides Hq. Causal calls have Tq <= Tk: the first Tk − Tq keys are history.
struct KernelLinearInputs {
    Heads<const float> q, k, v;
    static constexpr const char *output = "[Hq, Tq, Dv]", *state = "[Hkv, F, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
    }
};

struct KernelLinearOptions {
    KernelFeature feature = KernelFeature::elu1;
    bool causal = false;    ///< query i stands at Tk − Tq + i and reads keys up to its own
    bool normalize = true;  ///< without: a state needs no normalizer, but one that it has is carried along
    KernelDenominator denominator = KernelDenominator::add;
    float eps = 1e-6f;
    float scale = 1;                               ///< multiplies φ(q)
    std::optional<std::int64_t> cos_max_len = {};  ///< length of the cosine; default offset + the largest of Tq and Tk
    std::int64_t offset = 0;                       ///< position of the first key, for cos
    bool check_data = false;                       ///< refuse NaN anywhere, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("feature", o.feature, "elu1, relu, squared_relu, exp, identity, softmax or cos");
        visit("causal", o.causal, "query i reads keys up to its own");
        visit("normalize", o.normalize, "divide by the sum of the weights");
        visit("denominator", o.denominator, "add: eps is added to it, clamp: it is at least eps");
        visit("eps", o.eps, "of the denominator");
        visit("scale", o.scale, "multiplies the queries' features");
        visit("cos_max_len", o.cos_max_len, "length of the cosine");
        visit("offset", o.offset, "position of the first key, for cos");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [Hq, Tq, Dv]. The state has a normalizer [Hkv, F]; neither carries `scale`.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void kernel_linear(const KernelLinearInputs& x, Heads<float> o, LinearState& state,
                   const KernelLinearOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/kernel_linear.inl>
#endif
