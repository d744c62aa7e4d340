// Disentangled attention: content to content, content to position, position to content. He et al. 2021, "DeBERTa:
// Decoding-Enhanced BERT with Disentangled Attention", eq. 4; the log buckets of its second version; He et al. 2022, "Z-Code++".
//
//   s_ij = scale · (q_i·k_j + q_i·pos_k[δ(i − j)] + k_j·pos_q[δ']),  over the terms that are chosen
//   δ(d) = clip(b(d) + span, 0, 2 span − 1);  b(d) = d, or with buckets d as far as mid = buckets / 2 and then
//          sign(d) (mid + ⌈ln(|d| / mid) / ln((max_position − 1) / mid) · (mid − 1) − 1e-9⌉), d clipped to ± (max_position − 1)
//   δ' = δ(i − j) in all published checkpoints, δ(j − i) in the paper
//
// q·pos_kᵀ and k·pos_qᵀ are products with 2 span columns each, of which pairs take what their distance says.
#pragma once

#include <attenta/softmax/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

/// Tables of 2 span rows; Hr and Hp divide Hq.
struct DisentangledInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> pos_k = {}, pos_q = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("pos_k", x.pos_k, "[Hr, TP, D]", Input::optional);
        visit("pos_q", x.pos_q, "[Hp, TP, D]", Input::optional);
    }
};

/// Which distance position to content reads.
enum class P2cIndex : std::uint8_t { released, paper };
constexpr std::array<std::string_view, 2> names_of(P2cIndex) { return {"released", "paper"}; }

struct DisentangledOptions {
    std::int64_t buckets = 0;         ///< 0: distances as they are (version 1); else span, 256 in published models
    std::int64_t max_position = 512;  ///< from which on distances share a bucket
    std::vector<std::string> terms = {"c2c", "c2p", "p2c"};
    P2cIndex p2c_index = P2cIndex::released;
    std::optional<float> scale = {};  ///< default 1/sqrt(D · number of terms)
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("buckets", o.buckets, "log buckets of distances, 0: none");
        visit("max_position", o.max_position, "from which on distances share a bucket");
        visit("terms", o.terms, "any of c2c, c2p, p2c");
        visit("p2c_index", o.p2c_index, "released: i - j, paper: j - i");
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(D · number of terms)");
        VisibleKeys::fields(visit, o.visibility);
    }
};

struct DisentangledOutputs : SoftmaxOutputs {
    std::int64_t* index = nullptr;  ///< [Tq, Tk] δ(i − j), or null
};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit, terms that are empty, repeated or
/// without their table; nothing is written then.
void disentangled(const DisentangledInputs& x, const DisentangledOutputs& out, const DisentangledOptions& options = {},
                  Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#include <attenta/softmax/relative/disentangled.inl>
#endif
