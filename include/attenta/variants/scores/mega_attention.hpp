// Mega attention. Ma et al. 2022, Mega: Moving Average Equipped Gated Attention, eq. 8-11 and section 3.5.
//
//   softmax  w = softmax(q·k / √S + b)
//   laplace  x = q·k / n_i + b,  w = ½ (1 + erf((x − 0.707107) / (0.282095 √2)))       n_i: keys that query i sees
//   relu2    x as there,  w = max(x, 0)²
//
//   rel_bias        b_ij = rel_bias[j − i + n − 1],  2n − 1 numbers
//   bias_q, bias_k  b_ij = rotate(bias_q, i) · rotate(bias_k, j),  halves turned by i · 10000^(−2m/S): a function of i − j, too
//
// In chunks a query sees the keys of its own chunk of positions. Either bias is a table of distances; laplace and relu2 are one pass
// without a denominator. Time Tq·chunk·(S + E) per head.
#pragma once

#include <attenta/variants/common.hpp>
#include <attenta/variants/local_weights.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class MegaActivation : std::uint8_t { softmax, laplace, relu2 };
constexpr std::array<std::string_view, 3> names_of(MegaActivation) { return {"softmax", "laplace", "relu2"}; }

/// Relative positions: a table, or two vectors, or none.
struct MegaBias {
    std::span<const float> rel_bias = {}, bias_q = {}, bias_k = {};

    static void list(auto&& visit, auto& x) {
        visit("rel_bias", x.rel_bias, "[N]", Input::optional);
        visit("bias_q", x.bias_q, "[S]", Input::optional);
        visit("bias_k", x.bias_k, "[S]", Input::optional);
    }
};

struct MegaAttentionInputs {
    Heads<const float> q;
    KvView kv;
    MegaBias bias = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, S]");
        visit("k", "v", x.kv, "[Hkv, Tk, S]", "[Hkv, Tk, E]");
        MegaBias::list(visit, x.bias);
    }
};

struct MegaAttentionOptions {
    MegaActivation activation = MegaActivation::softmax;
    std::optional<std::int64_t> chunk = {};  ///< keys of a chunk, none: all are one
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("activation", o.activation, "softmax, laplace or relu2");
        visit("chunk", o.chunk, "keys that a query's chunk has, default all");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// o [Hq, Tq, E]. Throws Error on shapes and options that do not fit, on a chunk or a sequence longer than the table; nothing is
/// written then.
void mega_attention(const MegaAttentionInputs& x, const WeightedOutputs& out, const MegaAttentionOptions& options = {},
                    Context& context = default_context());

namespace detail {

/// What mega_attention refuses of its positions. Sizes of the other inputs are checked when it runs.
void check_mega_positions(const char* function, const MegaBias& bias, std::int64_t features, std::int64_t tokens,
                          std::optional<std::int64_t> chunk);

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/scores/mega_attention.inl>
#endif
