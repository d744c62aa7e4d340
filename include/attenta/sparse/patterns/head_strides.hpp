// Head-wise positional strides: in cross-attention each head reads a share of the source. Huang et al. 2021, "Efficient
// Attentions for Long Document Summarization" (Hepos), section 3.2.
//
//   A(h) = j = h mod s (mod s), or with `block` the (h mod s)-th of s runs of ceil(Tk / s) keys
//
// Queries have no positions; Tq and Tk are unrelated. Time Tq·Tk/s·(D + Dv) per head, which needs Tk/s keys alone.
#pragma once

#include <attenta/sparse/common.hpp>

#include <array>
#include <string_view>

ATTENTA_BEGIN

struct HeadStridesInputs {
    Heads<const float> q;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

enum class HeadStridesMode : std::uint8_t { stride, block };
constexpr std::array<std::string_view, 2> names_of(HeadStridesMode) { return {"stride", "block"}; }

struct HeadStridesOptions {
    std::int64_t stride = 4;  ///< shares of the keys, 1 to Tk
    HeadStridesMode mode = HeadStridesMode::stride;
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("stride", o.stride, "shares of the keys");
        visit("mode", o.mode, "every stride-th key, or a run of them");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The pattern: a list for each query head. Throws Error on options out of range and on a head without keys.
void head_strides_lists(const HeadStridesInputs& x, KeyLists& lists, const HeadStridesOptions& options = {});

/// Throws Error on shapes and options that do not fit; nothing is written then.
void head_strides(const HeadStridesInputs& x, const SparseOutputs& out, const HeadStridesOptions& options = {},
                  Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/patterns/head_strides.inl>
#endif
