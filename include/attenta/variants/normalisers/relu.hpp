// ReLU attention. Wortsman et al. 2023, Replacing softmax with ReLU in Vision Transformers; squared: Hua et al. 2022, Transformer
// Quality in Linear Time.
//
//   w_ij = max(scale · q_i·k_j, 0)^power,   o_i = Σ_j w_ij v_j / d_i
//
//   length  d_i = n_i, the number of keys that query i sees
//   sum     d_i = Σ_j w_ij + eps
//   none    d_i = 1
//
// One pass over K and V. Squares of large scores grow fast: sums are of floats.
#pragma once

#include <attenta/variants/common.hpp>
#include <attenta/variants/local_weights.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

enum class ReluDivide : std::uint8_t { length, sum, none };
constexpr std::array<std::string_view, 3> names_of(ReluDivide) { return {"length", "sum", "none"}; }

struct ReluInputs {
    Heads<const float> q;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

struct ReluOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    std::int64_t power = 1;           ///< 1 or 2
    ReluDivide divide = ReluDivide::length;
    float eps = 1e-6f;  ///< of sum
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("power", o.power, "of positive scores, 1 or 2");
        visit("divide", o.divide, "o by the keys that are seen, the sum of weights, or nothing");
        visit("eps", o.eps, "added to the sum of weights");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// o [Hq, Tq, Dv]. Throws Error on shapes and options that do not fit; nothing is written then.
void relu(const ReluInputs& x, const WeightedOutputs& out, const ReluOptions& options = {},
          Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/normalisers/relu.inl>
#endif
