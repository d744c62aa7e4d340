// Attention that takes weight from sinks and gives it to the other keys. Yu et al. 2024, "Unveiling and Harnessing Hidden Attention Sinks"
// (ACT).
//
//   received_hj = Σ_i a_hij / queries that see j, at least 1
//   sinks_h = { j : received_hj > threshold } of heads in `heads`, but the smallest of them (first_detected) or key 0 (first_token)
//   m_i = weight of the sinks, n_i = that of the other keys;   where n_i >= min_rest:
//   a'_ij = β a_ij of sinks,   a'_ij = a_ij (1 + (1 − β) m_i / n_i) of others;   o_i = Σ_j a'_ij v_j
//
// Rows still sum to 1; others and other heads stay as they are. threshold, β and the protection are the published code's; the heads are
// found off-line. Four passes over the keys: statistics, what keys receive, mass of the sinks, output.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

enum class SinkProtection : std::uint8_t { first_detected, first_token };
constexpr std::array<std::string_view, 2> names_of(SinkProtection) { return {"first_detected", "first_token"}; }

struct CalibrateSinksInputs {
    Heads<const float> q;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

struct CalibrateSinksOptions {
    std::vector<std::int64_t> heads = {};  ///< needed: the heads of the layer that are calibrated
    double threshold = 0.1;                ///< above 0; a key that receives more is a sink
    double beta = 0.4;                     ///< share of their weight that sinks keep, 0 to 1
    SinkProtection protect = SinkProtection::first_detected;
    double min_rest = 1e-6;           ///< rows whose other keys weigh less stay as they are
    bool causal = true;               ///< query i sees keys j <= i, the last query all
    std::optional<float> scale = {};  ///< of q·k, default 1/sqrt(D)

    static void fields(auto&& visit, auto& o) {
        visit("heads", o.heads, "heads that are calibrated, needed");
        visit("threshold", o.threshold, "a key that receives more is a sink");
        visit("beta", o.beta, "share of their weight that sinks keep");
        visit("protect", o.protect, "first_detected or first_token: the sink that stays");
        visit("min_rest", o.min_rest, "rows whose other keys weigh less stay as they are");
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

struct CalibrateSinksOutputs {
    Heads<float> o;
    float *lse = nullptr, *weights = nullptr,
          *received = nullptr;  ///< lse of the scores, received of the weights as they were
    std::int64_t* sinks = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("o", out.o, "[Hq, Tq, Dv]");
        visit("lse", out.lse, "[Hq, Tq]");
        visit("weights", out.weights, "[Hq, Tq, Tk]");
        visit("received", out.received, "[Hq, Tk]");
        visit("sinks", out.sinks, "[Hq, Tk]");
    }
};

/// Throws Error on shapes and options that do not fit, a head that is none or is named twice; nothing is written then.
void calibrate_sinks(const CalibrateSinksInputs& x, const CalibrateSinksOutputs& out,
                     const CalibrateSinksOptions& options, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/calibrate_sinks.inl>
#endif
