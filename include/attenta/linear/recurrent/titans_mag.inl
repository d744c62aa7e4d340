#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/linear/recurrent/titans_mag.hpp>
#include <attenta/linear/recurrent/titans_mag_kernels.hpp>
#include <attenta/softmax/relative/persistent_memory.hpp>
#include <attenta/softmax/softmax.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Both branches, [H, T, Dv] each.
struct TitansMagMemory {
    std::vector<float> rows;
};

inline TitansOptions memory_options(const TitansMagOptions& x) {
    TitansOptions o;
    o.chunk = x.chunk;
    o.read = x.read;
    o.loss_scale = x.loss_scale;
    o.activation = x.activation;
    o.residual = x.residual;
    o.check_data = x.check_data;
    return o;
}

inline void check_titans_mag(const TitansMagInputs& x, Heads<float> o, const TitansState& state,
                             const TitansMagOptions& options) {
    const char* f = "titans_mag";
    checks::require_at_least(f, "window", options.window, 1);
    require_not_negative(f, "eps", options.eps);
    if (options.scale && !is_finite(*options.scale))
        fail(f, "scale is " + std::to_string(*options.scale) + ", needs a finite number");
    if (!x.persistent_k.data != !x.persistent_v.data && std::max(x.persistent_k.tokens, x.persistent_v.tokens) > 0)
        fail(f, "persistent_k and persistent_v need each other: one is null");
    const bool rms = options.norm == TitansMagNorm::rms;
    for (const auto& [name, weights] : {std::pair{"norm_attn", &x.norm_attn}, {"norm_mem", &x.norm_mem}})
        if (rms != (weights->data != nullptr))
            fail(f, std::string(name) + (rms ? " is null, norm rms needs it" : " is given, needs norm rms"));
    check_titans(f, InputList(x), x.memory, o, state, memory_options(options));
}

/// Attention over the window and the persistent tokens.
inline void attend_in_window(const TitansMagInputs& x, const TitansMagOptions& options, Heads<float> y,
                             Context& context) {
    const KvView kv = KvView::of(x.k, x.v);
    if (x.persistent_k.data && x.persistent_k.tokens > 0) {
        PersistentMemoryOptions with;
        with.scale = options.scale;
        with.visibility.causal = true;
        with.visibility.window_left = options.window - 1;
        return persistent_memory({.q = x.q, .kv = kv, .k_mem = x.persistent_k, .v_mem = x.persistent_v}, {.o = y}, with,
                                 context);
    }
    SoftmaxOptions alone;
    alone.scale = options.scale;
    alone.causal = true;
    alone.window_left = options.window - 1;
    softmax_attention(x.q, kv, y, alone, nullptr, context);
}

}  // namespace detail

ATTENTA_INLINE void titans_mag(const TitansMagInputs& x, Heads<float> o, TitansState& state,
                               const TitansMagOptions& options, Context& context) {
    detail::check_titans_mag(x, o, state, options);
    const std::int64_t heads = o.heads, tokens = o.tokens, dim = o.dim;
    const detail::CallMemory<detail::TitansMagMemory> memory(tokens, context);
    memory->rows.resize(static_cast<std::size_t>(2 * heads * tokens * dim));
    const Heads<float> y = hnd(memory->rows.data(), heads, tokens, dim),
                       recalled = hnd(memory->rows.data() + heads * tokens * dim, heads, tokens, dim);
    detail::attend_in_window(x, options, y, context);
    detail::run_titans(x.memory, recalled, state, detail::memory_options(options), context);
    constexpr std::int64_t tokens_of_task = 16;
    const std::int64_t parts = ceil_div(tokens, tokens_of_task);
    run_tasks(context.executor(), heads * parts, [&, gate = detail::gate_by_memory()](std::int64_t task, int) {
        const std::int64_t h = task / parts, begin = task % parts * tokens_of_task;
        const bool rms = options.norm == TitansMagNorm::rms;
        for (std::int64_t t = begin; t < std::min(begin + tokens_of_task, tokens); ++t)
            gate({y.row(h, t), recalled.row(h, t), rms ? x.norm_attn.row(h, 0) : nullptr,
                  rms ? x.norm_mem.row(h, 0) : nullptr, options.eps},
                 o.row(h, t), dim);
    });
}

ATTENTA_END
