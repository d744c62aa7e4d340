// Intra-decoder attention. Paulus, Xiong and Socher 2017, A Deep Reinforced Model for Abstractive Summarization, eq. 6-8.
//
//   e_ij = scale · q_iᵀ W_a k_j,   o_i = Σ_{j < i} softmax_j(e_ij) v_j        over strictly earlier positions
//
// The first state, which sees none, reads a zero vector. W_a is folded into the queries.
#pragma once

#include <attenta/variants/memory/bilinear.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

struct IntraDecoderInputs {
    Heads<const float> q;
    KvView kv;
    Matrices<const float> w_a = {};  ///< null: the identity

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, Dq]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("w_a", x.w_a, "[Dq, D]", Input::optional);
    }
};

struct IntraDecoderOptions {
    float scale = 1;
    std::optional<std::int64_t> q_offset = {};  ///< position of query 0; default: the last query's is the newest key's

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of q·k");
        visit("q_offset", o.q_offset, "position of query 0, default Tk - Tq");
    }
};

/// o [Hq, Tq, Dv]. Throws Error on shapes and options that do not fit, on more queries than keys too unless q_offset says where
/// they are; nothing is written then.
void intra_decoder(const IntraDecoderInputs& x, const WeightedOutputs& out, const IntraDecoderOptions& options = {},
                   Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/memory/intra_decoder.inl>
#endif
