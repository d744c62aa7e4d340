#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/softmax/row_norms.hpp>
#include <attenta/softmax/scores/cosine.hpp>
#include <attenta/softmax/scores/cosine_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline VectorNorm norm_of(CosineMethod method) {
    return method == CosineMethod::rms     ? VectorNorm::rms
           : method == CosineMethod::layer ? VectorNorm::layer
                                           : VectorNorm::l2;
}

inline float cosine_eps(const char* f, CosineMethod method, std::optional<float> eps) {
    const float x = eps.value_or(norm_of(method) == VectorNorm::l2 ? 1e-12f : 1e-6f);
    check_norm_eps(f, x);
    return x;
}

inline float cosine_scale(const char* f, const CosineOptions& o, std::int64_t dim) {
    if (static_cast<int>(o.method) > static_cast<int>(CosineMethod::layer)) fail(f, "method is none of CosineMethod");
    if (o.method == CosineMethod::l2 && !o.scale) fail(f, "scale is not given, l2 needs one");
    if (o.method == CosineMethod::ngpt) return o.scale.value_or(std::sqrt(static_cast<float>(dim)));
    return scale_or_default(o.scale, dim);
}

inline void check_key_rows(const char* f, const KvView& kv) {
    if (kv.k.dtype == Dtype::codes) fail(f, "k has codes, needs f32, bf16 or f16, or k_gain");
}

/// Weights that a method has or does not have, of 1 or as many heads as there are.
inline void check_cosine_weights(const char* f, const CosineInputs& x, CosineMethod method) {
    const bool ngpt = method == CosineMethod::ngpt, norm = method == CosineMethod::rms || method == CosineMethod::layer,
               layer = method == CosineMethod::layer;
    const auto check = [&](const char* name, const Matrices<const float>& m, bool has, bool needs, std::int64_t heads) {
        if (needs && !m) fail(f, std::string(name) + " is null, the method needs it");
        if (m && !has) fail(f, std::string(name) + " is given, the method has none");
        if (m && m.rows != 1 && m.rows != heads)
            fail(f, std::string(name) + " has " + checks::text(m.rows) + " rows, needs 1 or " + checks::text(heads));
    };
    check("s_qk", x.s_qk, ngpt, ngpt, x.kv.heads);
    check("q_norm", x.q_norm, norm, norm, x.q.heads);
    check("k_norm", x.k_norm, norm, norm, x.kv.heads);
    check("q_norm_bias", x.q_norm_bias, layer, false, x.q.heads);
    check("k_norm_bias", x.k_norm_bias, layer, false, x.kv.heads);
    if (layer && x.q.dim == 1) fail(f, "q has 1 feature, layer needs at least 2");
}

/// A row of a matrix for heads, of which there may be one for all.
inline const float* row_of_head(const Matrices<const float>& m, std::int64_t head) {
    return m ? m.data + (m.rows == 1 ? 0 : head) * m.row_stride : nullptr;
}

inline void key_gains(const KvView& kv, std::int64_t first, std::int64_t count, float* gain, std::int64_t stride,
                      VectorNorm norm, float eps, Context& context) {
    constexpr std::int64_t together = 64;  // keys of a task
    const RowFactor factor = row_factor();
    run_tasks(context.executor(), ceil_div(count, together), [&](std::int64_t task, int) {
        const std::byte *k[together], *v[together];
        const std::int64_t begin = first + task * together, n = std::min(together, first + count - begin);
        kv.locate(0, begin, n, k, v);
        for (std::int64_t i = 0; i < n; ++i)
            for (std::int64_t h = 0; h < kv.heads; ++h)
                gain[h * stride + begin + i] = factor(k[i] + kv.k.head_bytes(h), kv.k.dtype, kv.k.dim, norm, eps);
    });
}

struct CosineMemory {
    std::vector<float> q, shift, gain;
};

}  // namespace detail

ATTENTA_INLINE void cosine_key_gain(const KvView& kv, std::int64_t first, std::int64_t count, float* gain,
                                    std::int64_t stride, CosineMethod method, std::optional<float> eps,
                                    Context& context) {
    const char* const f = "cosine_key_gain";
    attention::Request cache;
    cache.function = f;
    cache.kv = kv;
    cache.q = {nullptr, kv.heads, 0, kv.k.dim, 0, 0};
    attention::check(cache);
    detail::check_key_rows(f, kv);
    const float keep = detail::cosine_eps(f, method, eps);
    if (kv.sequences != 1) fail(f, "kv has " + checks::text(kv.sequences) + " sequences, needs one");
    if (first < 0 || count < 0 || first > kv.length(0) || count > kv.length(0) - first)
        fail(f, checks::text(count) + " keys from key " + checks::text(first) + " on are asked for, there are " +
                    checks::text(kv.length(0)));
    if (stride < first + count) fail(f, "stride is " + checks::text(stride) + ", needs the keys of a head");
    checks::check_pointer(f, "gain", gain, sizeof(float), count > 0);
    detail::key_gains(kv, first, count, gain, stride, detail::norm_of(method), keep, context);
}

ATTENTA_INLINE void cosine(const CosineInputs& x, const SoftmaxOutputs& out, const CosineOptions& options,
                           Context& context) {
    const char* const f = "cosine";
    const float scale = detail::cosine_scale(f, options, std::max<std::int64_t>(x.q.dim, 1)),
                eps = detail::cosine_eps(f, options.method, options.eps);
    detail::SoftmaxCall call = detail::check_softmax(f, x, out, scale, options.visibility, context);
    detail::check_cosine_weights(f, x, options.method);
    if (!x.k_gain) detail::check_key_rows(f, x.kv);
    if (x.k_gain && x.k_gain.cols != call.keys())
        fail(f, "k_gain has " + checks::text(x.k_gain.cols) + " columns, needs the " + checks::text(call.keys()) +
                    " tokens of k");

    const detail::VectorNorm norm = detail::norm_of(options.method);
    const std::int64_t heads = x.q.heads, queries = x.q.tokens, dim = x.q.dim, keys = call.keys(),
                       group = heads / x.kv.heads;
    detail::CallMemory<detail::CosineMemory> memory(queries, context);
    memory->q.resize(static_cast<std::size_t>(heads * queries * dim));
    memory->shift.resize(static_cast<std::size_t>(heads * queries));
    const Heads<float> q = hnd(memory->q.data(), heads, queries, dim);
    const detail::FoldQuery fold = detail::fold_query();
    constexpr std::int64_t together = 16;  // queries of a task
    run_tasks(context.executor(), ceil_div(queries, together), [&](std::int64_t task, int) {
        for (std::int64_t h = 0; h < heads; ++h) {
            const bool ngpt = options.method == CosineMethod::ngpt;
            const detail::CosineWeights weights = {
                .query = ngpt ? detail::row_of_head(x.s_qk, h / group) : detail::row_of_head(x.q_norm, h),
                .query_bias = detail::row_of_head(x.q_norm_bias, h),
                .key = detail::row_of_head(ngpt ? x.s_qk : x.k_norm, h / group),
                .key_bias = detail::row_of_head(x.k_norm_bias, h / group)};
            for (std::int64_t t = task * together; t < std::min(queries, (task + 1) * together); ++t)
                memory->shift[static_cast<std::size_t>(h * queries + t)] =
                    scale * fold(x.q.row(h, t), dim, norm, eps, weights, q.row(h, t));
        }
    });
    edits::KeyGain gain{x.k_gain.data, x.k_gain.row_stride, group};
    if (!x.k_gain) {
        memory->gain.resize(static_cast<std::size_t>(x.kv.heads * keys));
        detail::key_gains(x.kv, 0, keys, memory->gain.data(), keys, norm, eps, context);
        gain = {memory->gain.data(), keys, group};
    }
    if (x.k_norm_bias) gain.shift = memory->shift.data(), gain.queries = queries;
    call.request.edits.push_back(edit(gain));
    call.request.q = q;
    call.run();
}

ATTENTA_END
