// A learned bias for each head and bucket of distances. Raffel et al. 2020, T5, section 2.1.
//
//   s_ij = scale · q_i·k_j + rel_bias[bucket(j − i), h],    scale 1 where none is given
//
//   bidirectional: B = buckets / 2, base = B for d > 0, n = |d|;  otherwise B = buckets, base = 0, n = max(−d, 0)
//   bucket(d) = base + n for n < exact = B / 2,
//               base + min(B − 1, exact + ⌊ln(n / exact) / ln(max_distance / exact) · (B − exact) + 1e-9⌋) beyond
//
// The bias is constant on diagonals: a table of the distances up to max_distance is read along the keys, no [Tq, Tk] is formed.
#pragma once

#include <attenta/softmax/common.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

struct T5BiasInputs {
    Heads<const float> q;
    KvView kv;
    Matrices<const float> rel_bias;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("rel_bias", x.rel_bias, "[B, Hq]");
    }
};

struct T5BiasOptions {
    std::optional<bool> bidirectional = {};  ///< keys after the query have buckets of their own; required
    std::int64_t max_distance = 128;         ///< from which on distances share the last bucket
    std::optional<float> scale = {};         ///< default 1
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("bidirectional", o.bidirectional, "keys after the query have buckets of their own; required");
        visit("max_distance", o.max_distance, "from which on distances share the last bucket");
        visit("scale", o.scale, "factor of q·k, default 1");
        VisibleKeys::fields(visit, o.visibility);
    }
};

struct T5BiasOutputs : SoftmaxOutputs {
    std::int64_t* index = nullptr;  ///< [Tq, Tk] buckets, or null
};

/// The bucket of a distance j − i. `buckets` is at least 2, or 4 and even where bidirectional; max_distance > exact.
std::int64_t t5_bucket(std::int64_t distance, std::int64_t buckets, std::int64_t max_distance, bool bidirectional);

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit; nothing is written then.
void t5_bias(const T5BiasInputs& x, const T5BiasOutputs& out, const T5BiasOptions& options = {},
             Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/softmax/positions/t5_bias.inl>
#endif
