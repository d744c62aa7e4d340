// Rotary positions. Su et al. 2021, RoFormer; position interpolation: Chen et al. 2023; YaRN, NTK-aware and dynamic scaling: Peng
// et al. 2023; Llama 3.1; LongRoPE: Ding et al. 2024, as Phi-3 has it.
//
//   pair c of the first R = rotary_dim channels turns by position · w_c:  (a, b) → f · (a cos − b sin, b cos + a sin)
//   w_c = base^(−2c/R), c < R/2, f = 1, where the scaling says nothing else; pairs are (c, c + R/2) or (2c, 2c + 1)
//
// f multiplies q and k each, so scores gain f². Angles are formed in double. Time (Hq·Tq + Hkv·Tk)·D, bound by memory; sines
// once for all heads of a token, or never where a RopeTable has them.
//
//     RopeTable table(128, {.base = 500000}, 4096);                  // once: cosines and sines of 4096 positions
//     rope_rotate(k, positions, k, table);                           // in place, prefill or step; float, bf16, f16
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

/// Which channels are a pair: (c, c + R/2), as Llama and NeoX have it, or (2c, 2c + 1), as GPT-J does.
enum class RopeLayout : std::uint8_t { half, interleaved };
constexpr std::array<std::string_view, 2> names_of(RopeLayout) { return {"half", "interleaved"}; }

enum class RopeScalingType : std::uint8_t { none, linear, ntk, dynamic, yarn, llama3, longrope };
constexpr std::array<std::string_view, 7> names_of(RopeScalingType) {
    return {"none", "linear", "ntk", "dynamic", "yarn", "llama3", "longrope"};
}

/// How frequencies of a model change for longer texts than it was trained on.
///   linear    w / factor
///   ntk       base · factor^(R / (R − 2)) in place of base
///   dynamic   base · (factor · n / max_position − (factor − 1))^(R / (R − 2)), n = max(seq_len, max_position)
///   yarn      w · ((1 − ramp) + ramp / factor), ramp from 0 at the pair that turns beta_fast times in max_position tokens to 1
///             at that of beta_slow; f = attention_factor, or g(mscale) / g(mscale_all_dim), or g(1), g(a) = 0.1 a ln factor + 1
///   llama3    w · ((1 − x) / factor + x), x = (turns − low_freq_factor) / (high_freq_factor − low_freq_factor) in [0, 1]
///   longrope  w / long_factor where seq_len is beyond max_position, else w / short_factor; f = attention_factor, or
///             sqrt(1 + ln factor / ln max_position)
struct RopeScaling {
    RopeScalingType type = RopeScalingType::none;
    double factor = 1;
    std::int64_t max_position = 0;                ///< tokens that the model was trained on
    std::optional<std::int64_t> seq_len = {};     ///< default: the largest position of the call plus 1
    double beta_fast = 32, beta_slow = 1;         ///< turns where yarn's ramp begins and ends
    bool truncate = true;                         ///< yarn's ramp begins and ends at whole pairs
    std::optional<double> attention_factor = {};  ///< f
    std::optional<double> mscale = {}, mscale_all_dim = {};
    double low_freq_factor = 1, high_freq_factor = 4;
    std::vector<double> short_factor = {}, long_factor = {};  ///< [R/2]

    static void fields(auto&& visit, auto& o) {
        visit("type", o.type, "none, linear, ntk, dynamic, yarn, llama3 or longrope");
        visit("factor", o.factor, "how much longer texts become");
        visit("max_position", o.max_position, "tokens of the training");
        visit("seq_len", o.seq_len, "tokens of the text, default the largest position + 1");
        visit("beta_fast", o.beta_fast, "turns where yarn's ramp begins");
        visit("beta_slow", o.beta_slow, "turns where it ends");
        visit("truncate", o.truncate, "it begins and ends at whole pairs");
        visit("attention_factor", o.attention_factor, "factor of q and of k, for yarn and longrope");
        visit("mscale", o.mscale, "makes yarn's factor, with");
        visit("mscale_all_dim", o.mscale_all_dim, "its divisor");
        visit("low_freq_factor", o.low_freq_factor, "turns below which llama3 divides by the factor");
        visit("high_freq_factor", o.high_freq_factor, "turns above which it does not");
        visit("short_factor", o.short_factor, "longrope's divisors of texts up to max_position");
        visit("long_factor", o.long_factor, "and beyond");
    }
};

struct RopeOptions {
    RopeLayout layout = RopeLayout::half;
    std::optional<std::int64_t> rotary_dim = {};  ///< the first channels, which turn, even; default all
    double base = 10000;
    RopeScaling scaling = {};
    std::optional<std::int64_t> q_offset = {};  ///< position of query 0, default Tk − Tq

    static void fields(auto&& visit, auto& o) {
        visit("layout", o.layout, "pairs are halves or neighbours");
        visit("rotary_dim", o.rotary_dim, "channels that turn, default all");
        visit("base", o.base, "of the frequencies");
        visit("scaling", o.scaling, "for texts longer than those of the training");
        visit("q_offset", o.q_offset, "position of query 0, default Tk - Tq");
    }
};

/// Frequencies, and cosines and sines of the first positions: a value, for all layers and steps.
class RopeTable {
public:
    RopeTable() = default;
    /// For heads of `dim` features. Positions 0 .. positions − 1 are kept; those of others are computed when they are met.
    /// Dynamic and longrope scaling go by their seq_len, or by `positions`. Throws Error on options that do not fit.
    RopeTable(std::int64_t dim, const RopeOptions& options = {}, std::int64_t positions = 0);
    /// Copies caches of another's, cos and sin [positions, R/2] as ONNX's RotaryEmbedding takes them. There are no others.
    static RopeTable of(const Matrices<const float>& cos, const Matrices<const float>& sin, std::int64_t dim,
                        RopeLayout layout = RopeLayout::half);

    std::int64_t dim() const { return dim_; }
    std::int64_t rotary_dim() const { return rotated_; }
    std::int64_t positions() const { return positions_; }
    RopeLayout layout() const { return layout_; }
    /// w, [R/2]; none of a copied cache.
    std::span<const double> frequencies() const { return frequencies_; }
    /// f
    double factor() const { return factor_; }

    /// Whether there are cosines and sines of a position.
    bool has(std::int64_t position) const { return !frequencies_.empty() || is_kept(position); }
    /// Cosines and sines of a position, R numbers in the order of the layout: the kept ones, or in `room`.
    const float* angles(std::int64_t position, float* room) const;

private:
    friend class RopeFrequencies;
    bool is_kept(std::int64_t position) const { return position >= 0 && position < positions_; }
    void keep(std::int64_t positions);

    std::int64_t dim_ = 0, rotated_ = 0, positions_ = 0;
    RopeLayout layout_ = RopeLayout::half;
    double factor_ = 1;
    std::vector<double> frequencies_;
    std::vector<float> angles_;  ///< [positions, R]
};

/// Rotates x [H, T, D], token t by positions[t]; `to` may be x. Throws Error on shapes, on positions that a copied table does
/// not have, and where `to` overlaps x otherwise; nothing is written then.
void rope_rotate(const Heads<const float>& x, std::span<const std::int64_t> positions, const Heads<float>& to,
                 const RopeTable& table, Context& context = default_context());
void rope_rotate(const Heads<const bfloat16>& x, std::span<const std::int64_t> positions, const Heads<bfloat16>& to,
                 const RopeTable& table, Context& context = default_context());
void rope_rotate(const Heads<const float16>& x, std::span<const std::int64_t> positions, const Heads<float16>& to,
                 const RopeTable& table, Context& context = default_context());

struct RopeInputs {
    Heads<const float> q, k;
    std::span<const std::int64_t> positions_q = {}, positions_k = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("positions_q", x.positions_q, "[Tq]", Input::optional);
        visit("positions_k", x.positions_k, "[Tk]", Input::optional);
    }
};

/// Where rotated queries and keys go, which may be the inputs.
struct RopeOutputs {
    Heads<float> q, k;
    float* frequencies = nullptr;  ///< [R/2] w, or null
};

/// Rotates queries and keys. Keys stand at 0 .. Tk − 1 and query i at i + q_offset, or at their positions. Throws Error on
/// shapes and options that do not fit and on overlapping outputs; nothing is written then.
void rope(const RopeInputs& x, const RopeOutputs& out, const RopeOptions& options = {},
          Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/isa.inl>
#include <attenta/softmax/positions/rope.inl>
#endif
