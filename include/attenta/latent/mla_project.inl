#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/latent/mla_project.hpp>
#include <attenta/softmax/positions/rope.hpp>
#include <attenta/softmax/row_norms.hpp>

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct MlaProjectMemory {
    std::vector<float> query_latents;
    std::vector<std::int64_t> positions;
};

inline void check_mla_project(const MlaProjectInputs& x, const MlaProjections& out, const MlaProjectOptions& o) {
    const char* const f = "mla_project";
    const InputList inputs(x);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    const bool direct = x.w_q.data != nullptr;
    if (direct == (x.w_dq.data != nullptr)) fail(f, "w_q and w_dq are both given or both missing, needs one of them");
    if (!direct && (x.q_norm.empty() || !x.w_uq.data)) fail(f, "q_norm or w_uq is missing, w_dq needs them");
    const Heads<const float>& w = direct ? x.w_q : x.w_uq;
    const std::int64_t tokens = x.x.rows, latent = static_cast<std::int64_t>(x.kv_norm.size()),
                       rope = x.w_dkv.rows - latent, nope = w.tokens - rope;
    using checks::text;
    if (tokens < 1) fail(f, "x has no rows, needs at least one");
    if (latent < 1 || rope < 2 || rope % 2 != 0)
        fail(f, "w_dkv has " + text(x.w_dkv.rows) + " rows behind a norm of " + text(latent) +
                    ", needs an even number from 2 up of rotary ones behind it");
    if (nope < 1)
        fail(f, "queries have " + text(w.tokens) + " features, needs more than the " + text(rope) + " that rotate");
    if (!is_finite(o.eps) || o.eps <= 0) fail(f, "eps is " + std::to_string(o.eps) + ", needs a finite number above 0");
    if (!is_finite(o.rope_base) || o.rope_base <= 1)
        fail(f, "rope_base is " + std::to_string(o.rope_base) + ", needs a finite number above 1");
    constexpr std::int64_t most = std::int64_t{1} << 48;
    if (o.position < 0 || o.position > most) fail(f, "position is " + text(o.position) + ", needs 0 to " + text(most));
    checks::check_output(f, w.heads, tokens, nope, out.q_nope, "q_nope");
    checks::check_output(f, w.heads, tokens, rope, out.q_pe, "q_pe");
    checks::check_output(f, 1, tokens, latent, out.c_kv, "c_kv");
    checks::check_output(f, 1, tokens, rope, out.k_pe, "k_pe");
    OutputMemory memory(f, inputs);
    for (const auto& [name, to] :
         {std::pair{"q_nope", &out.q_nope}, {"q_pe", &out.q_pe}, {"c_kv", &out.c_kv}, {"k_pe", &out.k_pe}}) {
        if (!to->data) fail(f, std::string(name) + " is null, has elements to hold");
        memory.add(name, *to);
    }
}

/// `rows` rows of each head's weights, from `first` on.
inline Matrices<const float> weight_rows(const Heads<const float>& w, std::int64_t first, std::int64_t rows) {
    return {w.row(0, first), w.heads, rows, w.dim, w.token_stride, w.head_stride};
}

inline void normalize_rows(const Heads<float>& x, std::span<const float> gain, float eps, Context& context) {
    const NormalizeRow normalize = normalize_row();
    run_tasks(context.executor(), x.tokens, [&](std::int64_t t, int) {
        normalize(x.row(0, t), x.dim, VectorNorm::rms, eps, gain.data(), nullptr, x.row(0, t));
    });
}

}  // namespace detail

ATTENTA_INLINE void mla_project(const MlaProjectInputs& x, const MlaProjections& out, const MlaProjectOptions& options,
                                Context& context) {
    detail::check_mla_project(x, out, options);
    const std::int64_t tokens = x.x.rows, latent = out.c_kv.dim, rope = out.k_pe.dim, nope = out.q_nope.dim;
    const detail::CallMemory<detail::MlaProjectMemory> memory(tokens, context);
    const Matrices<const float> hidden{x.x.data, 1, tokens, x.x.cols, x.x.row_stride, 0};
    const auto project = [&](const Matrices<const float>& from, const Matrices<const float>& weight, Heads<float> to) {
        dense::multiply(from, weight, dense::matrices_of(to), {.b_transposed = true}, context);
    };
    const auto rows = [](const Matrices<const float>& w, std::int64_t first, std::int64_t count) {
        return Matrices<const float>{w.data + first * w.row_stride, 1, count, w.cols, w.row_stride, 0};
    };
    project(hidden, rows(x.w_dkv, 0, latent), out.c_kv);
    project(hidden, rows(x.w_dkv, latent, rope), out.k_pe);
    detail::normalize_rows(out.c_kv, x.kv_norm, options.eps, context);
    Matrices<const float> queries = hidden;
    if (!x.w_q.data) {
        memory->query_latents.resize(static_cast<std::size_t>(tokens * x.w_dq.rows));
        const Heads<float> latents = hnd(memory->query_latents.data(), 1, tokens, x.w_dq.rows);
        project(hidden, rows(x.w_dq, 0, x.w_dq.rows), latents);
        detail::normalize_rows(latents, x.q_norm, options.eps, context);
        queries = dense::matrices_of<const float>(latents);
    }
    const Heads<const float>& w = x.w_q.data ? x.w_q : x.w_uq;
    project(queries, detail::weight_rows(w, 0, nope), out.q_nope);
    project(queries, detail::weight_rows(w, nope, rope), out.q_pe);
    memory->positions.resize(static_cast<std::size_t>(tokens));
    std::iota(memory->positions.begin(), memory->positions.end(), options.position);
    const RopeTable table(rope, {.layout = RopeLayout::interleaved, .base = double{options.rope_base}});
    rope_rotate(Heads<const float>(out.q_pe), memory->positions, out.q_pe, table, context);
    rope_rotate(Heads<const float>(out.k_pe), memory->positions, out.k_pe, table, context);
}

ATTENTA_END
