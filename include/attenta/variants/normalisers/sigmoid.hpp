// Sigmoid attention. Ramapuram et al. 2024, Theory, Analysis, and Best Practices for Sigmoid Self-Attention.
//
//   w_ij = σ(scale · q_i·k_j + bias),   o_i = Σ_j w_ij v_j        over the visible keys, without any normalisation
//
// The default bias −ln Tk is that of the number of keys of the call, for all rows: a decoder whose cache grows says which it
// wants, if earlier results are to stay as they are. One pass over K and V, as softmax without its maximum and denominator.
#pragma once

#include <attenta/variants/common.hpp>
#include <attenta/variants/local_weights.hpp>

#include <cstdint>
#include <optional>
#include <span>

ATTENTA_BEGIN

struct SigmoidInputs {
    Heads<const float> q;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

struct SigmoidOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    std::optional<float> bias = {};   ///< of scores, default -ln Tk
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("bias", o.bias, "added to scores, default -ln Tk");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// o [Hq, Tq, Dv]. Throws Error on shapes and options that do not fit; nothing is written then.
void sigmoid(const SigmoidInputs& x, const WeightedOutputs& out, const SigmoidOptions& options = {},
             Context& context = default_context());

/// The same for a batch of sequences of any lengths, prefill and decode mixed: the queries of sequence s are the next
/// q_lengths[s] tokens of q, its keys those of sequence s of the cache, and the default bias that of its own keys. Without
/// segments and mask; q_offset is where query 0 of every sequence stands.
void sigmoid_sequences(const SigmoidInputs& x, std::span<const std::int32_t> q_lengths, const WeightedOutputs& out,
                       const SigmoidOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/normalisers/sigmoid.inl>
#endif
