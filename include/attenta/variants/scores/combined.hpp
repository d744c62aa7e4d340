// Combined quasi-attention. Li, Liang and Zhang 2024, Comateformer.
//
//   E_ij = alpha · scale · q_i·k_j,   N_ij = −beta · scale · |qn_i − kn_j|₁       qn, kn: q_n, k_n, or q, k
//   M_ij = tanh(E_ij) g(N_ij),   o_i = Σ_j M_ij v_j,   o_k,j = Σ_i M_ij v_q,i
//
//   double  g = 2 σ(N),   center  g = σ(N − mean of N over the visible pairs of the head),   sigmoid  g = σ(N)
//
// One pass over K and V; center takes one more for the mean. The distance is no product: it costs D subtractions a pair.
#pragma once

#include <attenta/variants/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

enum class CombinedGate : std::uint8_t { double_sigmoid, center, sigmoid };
constexpr std::array<std::string_view, 3> names_of(CombinedGate) { return {"double", "center", "sigmoid"}; }

struct CombinedInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> q_n = {}, k_n = {};  ///< of distances, both or neither
    Heads<const float> v_q = {};            ///< values of queries, for o_k

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("q_n", x.q_n, "[Hq, Tq, Dn]", Input::optional);
        visit("k_n", x.k_n, "[Hkv, Tk, Dn]", Input::optional);
        visit("v_q", x.v_q, "[Hq, Tq, Dq]", Input::optional);
    }
};

struct CombinedOptions {
    float alpha = 1, beta = 1;
    CombinedGate gate = CombinedGate::double_sigmoid;
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("alpha", o.alpha, "factor of products");
        visit("beta", o.beta, "factor of distances");
        visit("gate", o.gate, "of distances: double, center or sigmoid");
        visit("scale", o.scale, "of both, default 1/sqrt(D)");
        VisibleKeys::fields(visit, o.visibility);
    }
};

struct CombinedOutputs : WeightedOutputs {
    Heads<float> o_k = {};  ///< [Hq, Tk, Dq] where v_q is given; of calls that are causal or show all
};

/// Throws Error on shapes and options that do not fit; nothing is written then.
void combined(const CombinedInputs& x, const CombinedOutputs& out, const CombinedOptions& options = {},
              Context& context = default_context());

namespace edits {

/// What the pairs of a call have beside their products. All of it is borrowed.
struct CombinedPairs {
    Heads<const float> query, key;  ///< whose distances count; key heads serve group queries' heads each
    std::int64_t group;
    float beta;           ///< times scale
    float factor;         ///< of the gate's logistic function
    const float* centre;  ///< [heads] added to distances, or null
};

/// s ← tanh(s) · factor · σ(N + centre)
struct CombinedWeights {
    const CombinedPairs* pairs;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(CombinedWeights)

/// s ← N
struct CombinedDistances {
    const CombinedPairs* pairs;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(CombinedDistances)

}  // namespace edits

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/scores/combined.inl>
#include <attenta/variants/scores/combined_kernels.inl>
#endif
