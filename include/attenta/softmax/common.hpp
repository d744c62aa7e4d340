// What the mechanisms around exact softmax share: which keys a query sees, their outputs, a call that has been checked.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/inputs.hpp>
#include <attenta/engine/common/scale.hpp>
#include <attenta/engine/mask/combine.hpp>
#include <attenta/engine/mask/masks.hpp>

#include <cstdint>
#include <optional>
#include <span>

ATTENTA_BEGIN

/// Query i sees key j where all of these show it; i and j are positions. Keys stand at 0 .. Tk − 1, or at the KvView's
/// positions, query i at i + q_offset.
struct VisibleKeys {
    bool causal = false;                           ///< keys j <= i, and those of the prefix
    std::int64_t prefix = 0;                       ///< keys that a causal query sees whatever its position
    std::int64_t window_left = -1;                 ///< keys before the query, its own not counted; -1: all
    std::int64_t window_right = -1;                ///< keys after it; -1: all
    std::optional<std::int64_t> q_offset = {};     ///< default: the last query stands where the newest key does
    std::span<const std::int64_t> segment_q = {};  ///< [Tq] document of each query,
    std::span<const std::int64_t> segment_k = {};  ///< [Tk] and of each key: only equal ones see each other
    Matrices<const bool> mask = {};                ///< [1 or Hq, 1 or Tq, at most Tk], true: visible
    Mask visible = {};                             ///< a mask of one's own, on top of all others

    /// The scalar options: names for parameters, help and tables.
    static void fields(auto&& visit, auto& o) {
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("prefix", o.prefix, "keys that every causal query sees");
        visit("window_left", o.window_left, "keys before the query that it sees, -1: all");
        visit("window_right", o.window_right, "keys after the query that it sees, -1: all");
        visit("q_offset", o.q_offset, "position of query 0, default Tk - Tq");
    }
};

/// Where an attention writes.
struct SoftmaxOutputs {
    Heads<float> o;        ///< [Hq, Tq, Dv], 0 where a query sees no key
    float* lse = nullptr;  ///< [Hq, Tq], natural logarithm, -inf there; or null
};

/// The inputs and options of a mechanism's function, for code that serves all mechanisms.
template <auto function>
struct SoftmaxFunction;
template <class In, class Out, class Opt, void (*function)(const In&, const Out&, const Opt&, Context&)>
struct SoftmaxFunction<function> {
    using Inputs = In;
    using Outputs = Out;  ///< SoftmaxOutputs, what is derived from it, or outputs of another kind
    using Options = Opt;
};

namespace detail {

/// A call whose inputs, outputs and options have been checked, as a request to the engine.
struct SoftmaxCall {
    attention::Request request;
    SoftmaxOutputs out;
    Context* context;

    const char* function() const { return request.function; }
    std::int64_t keys() const { return request.kv.length(0); }
    /// Position of query 0, and behind the newest key.
    std::int64_t first_position() const;
    std::int64_t end_of_positions() const;
    void run() const;
};

/// What a call is made of.
struct SoftmaxParts {
    const char* function;
    std::span<const Input> inputs;
    Heads<const float> q;
    const KvView& kv;
    const SoftmaxOutputs& out;
    float scale;
    const VisibleKeys& visibility;
    std::optional<std::span<const std::int32_t>> q_lengths = {};  ///< [sequences] of a batch, without segments and mask
};

/// Throws Error before anything is written. The views of `parts` may be copies that a mechanism makes later; the memory of its
/// inputs is checked in any case.
SoftmaxCall check_softmax(const SoftmaxParts& parts, Context& context);

/// The same of a mechanism's structs, with K and V in a cache.
template <class Inputs>
SoftmaxCall check_softmax(const char* function, const Inputs& x, const SoftmaxOutputs& out, float scale,
                          const VisibleKeys& visibility, Context& context) {
    return check_softmax({function, InputList(x), x.q, x.kv, out, scale, visibility}, context);
}

/// The same with K and V as tensors x.k and x.v, of which a mechanism makes keys of its own.
template <class Inputs>
SoftmaxCall check_softmax_tensors(const char* function, const Inputs& x, const SoftmaxOutputs& out, float scale,
                                  const VisibleKeys& visibility, Context& context) {
    const InputList inputs(x);
    check_given(function, inputs);
    check_shapes(function, inputs, {});
    return check_softmax({function, inputs, x.q, KvView::of(x.k, x.v), out, scale, visibility}, context);
}

/// Throws Error unless eps, which keeps a norm from 0, is a finite number >= 0.
void check_norm_eps(const char* function, float eps);
/// Throws Error unless the heads of a tensor of parameters divide those of q: query head h reads row h / (Hq / heads).
void check_parameter_heads(const char* function, const char* name, std::int64_t heads, std::int64_t query_heads);

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/softmax/common.inl>
#endif
