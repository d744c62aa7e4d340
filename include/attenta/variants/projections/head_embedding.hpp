// Multiple head embeddings. Xue and Aletras 2023, Pit One Against Many. A token has one query, key and value for all heads.
//
//   add   q^h = q + e_q^h,   k^h = k + e_k^h,   v^h = v + e_v^h;   mul   q ⊙ (1 + e_q^h), k ⊙ (1 + e_k^h), v ⊙ (1 + e_v^h)
//   o^h = softmax(scale · q^h k^hᵀ) v^h
//
// Keys and values stay as they are, once for all heads, in any cache. add: q·e_k is the same for all keys of a row and moves lse
// alone, and weights that sum to 1 give e_v once. mul: (1 + e_k) goes into the query, (1 + e_v) into the output.
#pragma once

#include <attenta/variants/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

enum class HeadEmbeddingMode : std::uint8_t { add, mul };
constexpr std::array<std::string_view, 2> names_of(HeadEmbeddingMode) { return {"add", "mul"}; }

struct HeadEmbeddingInputs {
    Heads<const float> q;
    KvView kv;
    Matrices<const float> e_q, e_k, e_v;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[1, Tq, D]");
        visit("k", "v", x.kv, "[1, Tk, D]", "[1, Tk, Dv]");
        visit("e_q", x.e_q, "[H, D]");
        visit("e_k", x.e_k, "[H, D]");
        visit("e_v", x.e_v, "[H, Dv]");
    }
};

struct HeadEmbeddingOptions {
    HeadEmbeddingMode mode = HeadEmbeddingMode::add;
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("mode", o.mode, "add the embeddings, or multiply by 1 plus them (mul)");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// o [H, Tq, Dv], lse [H, Tq] or null. Throws Error on shapes and options that do not fit; nothing is written then.
void head_embedding(const HeadEmbeddingInputs& x, const SoftmaxOutputs& out, const HeadEmbeddingOptions& options = {},
                    Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/projections/head_embedding.inl>
#include <attenta/variants/projections/head_embedding_kernels.inl>
#endif
