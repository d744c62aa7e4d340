// Massive activations, and the nearly constant output that attention to their tokens gives. Sun et al. 2024, "Massive Activations in Large
// Language Models".
//
//   x = |hidden|,   median = the lower median of all of x
//   massive_tc = x_tc > magnitude and x_tc > ratio · median,   tokens_t = any of its channels;   top = the largest of x
//   o_sink = Σ_{j in tokens} a_ij v_j,   o_rest = that of the other keys,   o = o_sink + o_rest,   sink_weight_i = Σ_{j in tokens} a_ij
//
// `hidden` is the residual stream at the layer's input. A key and value bias in place of those tokens is softmax/scores/sink_bias.hpp.
// Four passes over the keys: statistics, mass, the two outputs.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

namespace analysis {

struct MassiveActivationsInputs {
    Matrices<const float> hidden;
    Heads<const float> q;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("hidden", x.hidden, "[Tk, d]");
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

struct MassiveActivationsOptions {
    double magnitude = 100, ratio = 1000;  ///< 0 or more: what a massive value exceeds, and times the median
    std::int64_t top = 3;                  ///< largest values that are listed
    bool causal = true;                    ///< query i sees keys j <= i, the last query all
    std::optional<float> scale = {};       ///< of q·k, default 1/sqrt(D)

    static void fields(auto&& visit, auto& o) {
        visit("magnitude", o.magnitude, "what a massive value exceeds");
        visit("ratio", o.ratio, "times the median, which it exceeds too");
        visit("top", o.top, "largest values that are listed");
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

struct MassiveActivationsOutputs {
    Heads<float> o, o_sink, o_rest;
    float *lse = nullptr, *sink_weight = nullptr;
    std::int64_t *massive = nullptr, *tokens = nullptr;
    float *median = nullptr, *top = nullptr;
    std::int64_t* top_index = nullptr;  ///< token and channel of each

    static void list(auto&& visit, auto& out) {
        visit("o", out.o, "[Hq, Tq, Dv]");
        visit("o_sink", out.o_sink, "[Hq, Tq, Dv]");
        visit("o_rest", out.o_rest, "[Hq, Tq, Dv]");
        visit("lse", out.lse, "[Hq, Tq]");
        visit("sink_weight", out.sink_weight, "[Hq, Tq]");
        visit("massive", out.massive, "[Tk, d]");
        visit("tokens", out.tokens, "[Tk]");
        visit("median", out.median, "[1]");
        visit("top", out.top, "[S]");
        visit("top_index", out.top_index, "[S, 2]");
    }
    static void sizes(auto&& set, const MassiveActivationsInputs&, const MassiveActivationsOptions& o) {
        set("S", o.top);
    }
};

/// Throws Error on shapes and options that do not fit and on hidden numbers that are not finite; nothing is written then.
void massive_activations(const MassiveActivationsInputs& x, const MassiveActivationsOutputs& out,
                         const MassiveActivationsOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/massive_activations.inl>
#endif
