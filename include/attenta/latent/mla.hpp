// Multi-head latent attention. DeepSeek-AI 2024, "DeepSeek-V2", section 2.1; also DeepSeek-V3 and Kimi K2.
//
//   k_hj = W^UK_h c_j,  v_hj = W^UV_h c_j                        c_j the latent of token j, R numbers for all heads
//   s_hij = scale · (q^n_hi·k_hj + q^r_hi·k^r_j),  o_hi = Σ_j softmax(s_hi)_j v_hj
//
// Two forms of the same numbers:
//   expanded  keys and values of every head, then attention with widths Dn + Dr and Dv: Tk·R·(Dn + Dv) once per head, and
//             Dn + Dr + Dv per query and key; best for prefill
//   absorbed  W^UKᵀ q^n in place of q^n and W^UV behind the sum over latents: attention of all heads with the one head of the
//             cache, 2R + Dr per query and key; best for decoding, which reads the cache once
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>
#include <attenta/latent/latent_cache.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

ATTENTA_BEGIN

/// Queries whose rotary part is rotated, a cache as latent_cache gives it, the up-projections of keys and values.
struct MlaInputs {
    Heads<const float> q_nope, q_pe;
    KvView kv = {};  ///< of one group; of batches too, where `q_lengths` are given
    Heads<const float> w_uk = {}, w_uv = {};
    std::span<const std::int32_t> q_lengths = {};  ///< [sequences] queries of each, or empty: one sequence

    static void list(auto&& visit, auto& x) {
        visit("q_nope", x.q_nope, "[Hq, Tq, Dn]");
        visit("q_pe", x.q_pe, "[Hq, Tq, Dr]");
        visit("k_pe", "c_kv", x.kv, "[G, Tk, Dr]", "[G, Tk, R]");
        visit("w_uk", x.w_uk, "[Hq, Dn, R]");
        visit("w_uv", x.w_uv, "[Hq, Dv, R]");
    }
};

enum class LatentForm : std::uint8_t { automatic, expanded, absorbed };
constexpr std::array<std::string_view, 3> names_of(LatentForm) { return {"automatic", "expanded", "absorbed"}; }

struct MlaOptions {
    bool causal = true;                       ///< query i stands at Tk − Tq + i and sees keys up to its own
    std::optional<float> scale = {};          ///< default 1/sqrt(Dn + Dr), above 0; YaRN's factor belongs here
    std::int64_t window_left = -1;            ///< keys before the query that it sees, its own not counted; -1: all
    std::span<const float> sink = {};         ///< [Hq], joins the denominator only
    LatentForm form = LatentForm::automatic;  ///< automatic: what takes fewer operations

    static void fields(auto&& visit, auto& o) {
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(Dn + Dr)");
        visit("window_left", o.window_left, "keys before the query that it sees, -1: all");
        visit("form", o.form, "automatic, expanded or absorbed");
    }
};

struct LatentOutputs {
    Heads<float> o;        ///< [Hq, Tq, Dv]
    float* lse = nullptr;  ///< [Hq, Tq], natural logarithm, or null
};

/// Batches are absorbed. Throws Error on shapes and options that do not fit, and if an output overlaps an input; nothing is
/// written then.
void mla(const MlaInputs& x, const LatentOutputs& out, const MlaOptions& options = {},
         Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/dense.inl>
#include <attenta/latent/mla.inl>
#endif
