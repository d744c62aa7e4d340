// Strided sparse attention: each query reads a window of the last tokens and every stride-th earlier one. Child et al. 2019,
// "Generating Long Sequences with Sparse Transformers", section 4.3.
//
//   local(i)  = 0 <= i - j < window,  column(i) = j <= i with (i - j) mod stride = 0
//   A(i)      = local ∪ column, one of them, or local in even query heads and column in odd ones
//
// Not causal: |i - j| < window, and columns on both sides. The paper's text gives the window stride + 1 keys, its kernels
// stride of them, which is the default here. Columns are dense attention among the queries and keys of a residue class.
// Time T·(window + T/stride)·(D + Dv) per head.
#pragma once

#include <attenta/sparse/common.hpp>

#include <array>
#include <string_view>

ATTENTA_BEGIN

struct StridedInputs {
    Heads<const float> q;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

enum class StridedPattern : std::uint8_t { merged, local, column, alternate };
constexpr std::array<std::string_view, 4> names_of(StridedPattern) {
    return {"merged", "local", "column", "alternate"};
}

struct StridedOptions {
    std::int64_t stride = 128;                ///< tokens from one key of a column to the next
    std::optional<std::int64_t> window = {};  ///< keys, the query's own included; default stride
    StridedPattern pattern = StridedPattern::merged;
    bool causal = true;               ///< keys after the query are not read
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("stride", o.stride, "tokens from one key of a column to the next");
        visit("window", o.window, "keys, the query's own included, default stride");
        visit("pattern", o.pattern, "window and columns, one of them, or even heads the one, odd heads the other");
        visit("causal", o.causal, "keys after the query are not read");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The whole pattern, to be looked at: attention runs on its parts. Throws Error on options out of range.
Mask strided_mask(const StridedOptions& options);

/// Throws Error on shapes and options that do not fit; nothing is written then.
void strided(const StridedInputs& x, const SparseOutputs& out, const StridedOptions& options = {},
             Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/patterns/strided.inl>
#endif
