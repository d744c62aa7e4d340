// Fixed sparse attention: each query reads its own block and a few summary columns of every block. Child et al. 2019,
// "Generating Long Sequences with Sparse Transformers", section 4.3.
//
//   local(i)      = j of the block of l = stride tokens that i is in
//   summary(h)    = j with l - (g + 1)·c <= j mod l < l - g·c,  g = h mod verts
//   A(h, i)       = local ∪ summary, one of them, or local in even query heads and summary in odd ones; j <= i if `causal`
//
// With summaries alone the first c < l tokens of a causal sequence see nothing: their rows are empty. Time
// T·(l + c·T/l)·(D + Dv) per head.
#pragma once

#include <attenta/sparse/common.hpp>

#include <array>
#include <string_view>

ATTENTA_BEGIN

struct FixedInputs {
    Heads<const float> q;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

enum class FixedPattern : std::uint8_t { merged, local, summary, alternate };
constexpr std::array<std::string_view, 4> names_of(FixedPattern) { return {"merged", "local", "summary", "alternate"}; }

struct FixedOptions {
    std::int64_t stride = 128;  ///< tokens of a block
    std::int64_t c = 8;         ///< of them in a summary
    std::int64_t verts = 1;     ///< summaries of a block, which heads take in turn: no more than fit
    FixedPattern pattern = FixedPattern::merged;
    bool causal = true;               ///< keys after the query are not read
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("stride", o.stride, "tokens of a block");
        visit("c", o.c, "tokens of a block's summary");
        visit("verts", o.verts, "summaries of a block, which heads take in turn");
        visit("pattern", o.pattern, "block and summaries, one of them, or even heads the one, odd heads the other");
        visit("causal", o.causal, "keys after the query are not read");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The whole pattern, to be looked at: attention runs on its parts. Throws Error on options out of range.
Mask fixed_mask(const FixedOptions& options);

/// Throws Error on shapes and options that do not fit; nothing is written then.
void fixed(const FixedInputs& x, const SparseOutputs& out, const FixedOptions& options = {},
           Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/patterns/fixed.inl>
#endif
