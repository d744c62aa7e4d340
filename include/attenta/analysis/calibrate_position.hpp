// Attention on documents that does not depend on their places. Hsieh et al. 2024, "Found in the Middle: Calibrating Positional Attention
// Bias Improves Long Context Utilization", eq. 4-6.
//
//   mean_hid = mean weight of the keys of document d,   relevance_hid = mean_hid − dummy_hd (layer: its mean over the heads)
//   α = softmax over d of relevance / temperature
//   a'_ij = C α_d / mean_d a_ij for keys of document d, C = Σ_d n_d mean_d / Σ_d n_d α_d: the documents keep their weight together
//   o_i = Σ_j a'_ij v_j
//
// `dummy` is the mean weight that a document without content got at the same place. Rows and heads that are not calibrated stay as they
// are. A document whose weight has vanished stays without. Three passes over the keys: statistics, mass of the documents, output.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

enum class RelevanceOf : std::uint8_t { head, layer };
constexpr std::array<std::string_view, 2> names_of(RelevanceOf) { return {"head", "layer"}; }

enum class CalibratedRows : std::uint8_t { last, all };
constexpr std::array<std::string_view, 2> names_of(CalibratedRows) { return {"last", "all"}; }

struct CalibratePositionInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const std::int64_t> doc_start, doc_end;
    Matrices<const float> dummy;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("doc_start", x.doc_start, "[K]");
        visit("doc_end", x.doc_end, "[K]");
        visit("dummy", x.dummy, "[Hq, K]");
    }
};

struct CalibratePositionOptions {
    double temperature = 5e-5;  ///< above 0
    RelevanceOf aggregate = RelevanceOf::head;
    CalibratedRows rows = CalibratedRows::last;
    std::optional<std::vector<std::int64_t>> heads = {};  ///< that are calibrated, default all
    bool causal = true;                                   ///< query i sees keys j <= i, the last query all
    std::optional<float> scale = {};                      ///< of q·k, default 1/sqrt(D)

    static void fields(auto&& visit, auto& o) {
        visit("temperature", o.temperature, "of the softmax over documents");
        visit("aggregate", o.aggregate, "head or layer: relevance of each head, or its mean over the heads");
        visit("rows", o.rows, "last or all: the queries that are calibrated");
        visit("heads", o.heads, "heads that are calibrated, default all");
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

struct CalibratePositionOutputs {
    Heads<float> o;
    float *lse = nullptr, *relevance = nullptr, *weights = nullptr;  ///< lse of the scores as they were

    static void list(auto&& visit, auto& out) {
        visit("o", out.o, "[Hq, Tq, Dv]");
        visit("lse", out.lse, "[Hq, Tq]");
        visit("relevance", out.relevance, "[Hq, Tq, K]");
        visit("weights", out.weights, "[Hq, Tq, Tk]");
    }
};

/// Throws Error on shapes and options that do not fit, on documents that are empty, overlap, or are not seen by every query; nothing
/// is written then.
void calibrate_position(const CalibratePositionInputs& x, const CalibratePositionOutputs& out,
                        const CalibratePositionOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/calibrate_position.inl>
#endif
