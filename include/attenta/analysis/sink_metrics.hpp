// Which keys are attention sinks, and how star-shaped attention is. Sink rate: Gu et al. 2025, "When Attention Sink Emerges in Language
// Models"; graphs of attention: Ruscio et al. 2025, "What are you sinking?".
//
//   received_j = Σ_i a_ij / c_j,   c_j = queries that may see key j, at least 1 (visible), or Tq (all)
//   sinks = received > threshold,   sink_rate_j = share of layers and heads in which j is a sink
//   centralization = Σ_j (max_j' x_j' − x_j) / (T − 1), x_j = Σ_i a_ij / T;   square attention of T > 1: 1 where all look at one key
//   fiedler = second smallest eigenvalue of diag(W 1) − W, W = (a + aᵀ) / 2 without its diagonal
//
// The last two are readings: the paper's own graphs and thresholds were not at hand. Time L·H·Tq·Tk; L·H·T³ for `fiedler`.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

namespace analysis {

enum class SinkAverage : std::uint8_t { visible, all };
constexpr std::array<std::string_view, 2> names_of(SinkAverage) { return {"visible", "all"}; }

struct SinkMetricsInputs {
    Weights attn;

    static void list(auto&& visit, auto& x) { visit("attn", x.attn, "[L, H, Tq, Tk]"); }
};

struct SinkMetricsOptions {
    double threshold = 0.3;  ///< between 0 and 1
    bool causal = true;      ///< query i sees keys j <= i, the last query all
    SinkAverage average = SinkAverage::visible;

    static void fields(auto&& visit, auto& o) {
        visit("threshold", o.threshold, "a key that receives more is a sink");
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("average", o.average, "visible or all: the queries that a key's weight is divided by");
    }
};

struct SinkMetricsOutputs {
    float* received = nullptr;
    std::int64_t* sinks = nullptr;
    float* sink_rate = nullptr;
    float* centralization = nullptr;  ///< of a square attention of two tokens or more

    static void list(auto&& visit, auto& out) {
        visit("received", out.received, "[L, H, Tk]");
        visit("sinks", out.sinks, "[L, H, Tk]");
        visit("sink_rate", out.sink_rate, "[Tk]");
        visit("centralization", out.centralization, "[L, H]");
    }
};

/// Throws Error on shapes and options that do not fit, on more causal queries than keys, and on `centralization` of an attention
/// that is not square; nothing is written then.
void sink_metrics(const SinkMetricsInputs& x, const SinkMetricsOutputs& out, const SinkMetricsOptions& options = {},
                  Context& context = default_context());

struct FiedlerOutputs {
    float* fiedler = nullptr;

    static void list(auto&& visit, auto& out) { visit("fiedler", out.fiedler, "[L, H]"); }
};

struct FiedlerOptions {};

/// Fiedler values of square attentions of two tokens or more, in double precision; compiled library only. Throws Error on other
/// shapes and numbers that are not finite.
void fiedler_values(const SinkMetricsInputs& x, const FiedlerOutputs& out, const FiedlerOptions& options = {},
                    Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/sink_metrics.inl>
#endif
