#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/softmax/scores/scan.hpp>
#include <attenta/softmax/scores/scan_kernels.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_scan_state(const char* f, const ScanInputs& x) {
    const int given = (x.m.empty() ? 0 : 1) + (x.u.empty() ? 0 : 1) + (x.w ? 1 : 0);
    if (given != 0 && given != 3) fail(f, "m, u and w are given in part, needs all of a state or nothing");
    for (std::size_t h = 0; h < x.u.size(); ++h) {
        const float* const w = x.w.data + static_cast<std::int64_t>(h) * x.w.row_stride;
        if (x.u[h] < 0) fail(f, "u[" + std::to_string(h) + "] is " + std::to_string(x.u[h]) + ", needs 0 or more");
        const bool empty = x.m[h] == -std::numeric_limits<float>::infinity() &&
                           std::all_of(w, w + x.w.cols, [](float value) { return value == 0; });
        if (x.u[h] == 0 && !empty) fail(f, "u[" + std::to_string(h) + "] is 0, needs m = -inf and w = 0 beside it");
    }
}

inline void check_scan_outputs(const char* f, const ScanInputs& x, const ScanOutputs& out) {
    const std::int64_t heads = x.q.rows, tokens = x.kv.length(0), dim = x.kv.v.dim;
    const auto size = [](std::span<float> s) { return static_cast<std::int64_t>(s.size()); };
    checks::check_output(f, heads, tokens, dim, out.o);
    checks::check_pointer(f, "o", out.o.data, sizeof(float), true);
    for (const auto& [name, s] : {std::pair{"out.m", out.m}, {"out.u", out.u}})
        if (!s.empty() && size(s) != heads)
            fail(f, std::string(name) + " has " + checks::text(size(s)) + " elements, needs " + checks::text(heads));
    if (out.w)
        checks::check_output(f, heads, 1, dim, {out.w.data, out.w.rows, 1, out.w.cols, out.w.row_stride, 0}, "out.w");
    const InputList inputs(x);
    OutputMemory memory(f, {});
    const auto all_but = [&](const char* own, const void* same) {
        OutputMemory others(f, {});
        for (const NamedBytes& in : memory_of(inputs))
            if (in.name != std::string(own) || static_cast<const void*>(in.bytes.begin) != same) others.take(in);
        others.take({"k", bytes_of(x.kv, x.kv.k)}), others.take({"v", bytes_of(x.kv, x.kv.v)});
        return others;
    };
    const Heads<float> lse = hnd(out.lse, heads, tokens, 1), m = hnd(out.m.data(), heads, 1, 1),
                       u = hnd(out.u.data(), heads, 1, 1),
                       w{out.w.data, out.w.rows, 1, out.w.cols, out.w.row_stride, 0};
    all_but("", nullptr).add("o", out.o), all_but("", nullptr).add("lse", lse);
    all_but("m", m.data).add("out.m", m), all_but("u", u.data).add("out.u", u), all_but("w", w.data).add("out.w", w);
    memory.add("o", out.o), memory.add("lse", lse), memory.add("out.m", m), memory.add("out.u", u);
    memory.add("out.w", w);
}

struct ScanMemory {
    std::vector<float> own, kept, inverse, w, m, u;
};

}  // namespace detail

ATTENTA_INLINE void scan_attention(const ScanInputs& x, const ScanOutputs& out, const ScanOptions& options,
                                   Context& context) {
    const char* const f = "scan_attention";
    const InputList inputs(x);
    const std::int64_t heads = x.q.rows, dim = x.q.cols;
    attention::Request r;
    r.function = f;
    r.q = {x.q.data, heads, 1, dim, x.q.row_stride, dim};
    r.kv = x.kv;
    r.scale = detail::scale_or_default(options.scale, std::max<std::int64_t>(dim, 1));
    if (x.kv.sequences != 1) fail(f, "kv has " + checks::text(x.kv.sequences) + " sequences, needs one");
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    attention::check(r);
    if (x.kv.k.dtype == Dtype::codes || x.kv.v.dtype == Dtype::codes)
        fail(f, "k or v are codes, needs f32, bf16 or f16");
    if (x.kv.differs_by_head()) fail(f, "heads of kv hold different tokens, needs the same ones");
    const std::int64_t tokens = x.kv.length(0), dim_v = x.kv.v.dim, group = heads / x.kv.heads;
    if (tokens < 1) fail(f, "k has no tokens, needs at least one");
    if (checks::elements(heads, tokens, dim_v) > checks::most_elements)
        fail(f, "k has " + checks::text(tokens) + " tokens, more than memory holds outputs of");
    checks::check_pointer(f, "k", x.kv.k.data, size_of(x.kv.k.dtype), true);
    checks::check_pointer(f, "v", x.kv.v.data, size_of(x.kv.v.dtype), true);
    detail::check_scan_state(f, x);
    detail::check_scan_outputs(f, x, out);

    detail::CallMemory<detail::ScanMemory> memory(tokens, context);
    const auto n = static_cast<std::size_t>(heads * tokens);
    for (auto* row : {&memory->own, &memory->kept, &memory->inverse}) row->resize(n);
    memory->w.assign(static_cast<std::size_t>(heads * dim_v), 0.f);
    memory->m.assign(static_cast<std::size_t>(heads), -std::numeric_limits<float>::infinity());
    memory->u.assign(static_cast<std::size_t>(heads), 0.f);
    if (!x.m.empty()) {
        std::copy(x.m.begin(), x.m.end(), memory->m.begin());
        std::copy(x.u.begin(), x.u.end(), memory->u.begin());
        for (std::int64_t h = 0; h < heads; ++h)
            std::copy_n(x.w.data + h * x.w.row_stride, dim_v, memory->w.data() + h * dim_v);
    }

    constexpr std::int64_t together = 64, slice = 128;  // tokens of a task, and channels
    const detail::DotOfRow dot = detail::dot_of_row();
    run_tasks(context.executor(), ceil_div(tokens, together), [&](std::int64_t task, int) {
        const std::byte *k[together], *v[together];
        const std::int64_t begin = task * together, count = std::min(together, tokens - begin);
        x.kv.locate(0, begin, count, k, v);
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t t = 0; t < count; ++t)
                memory->own[static_cast<std::size_t>(h * tokens + begin + t)] =
                    dot(k[t] + x.kv.k.head_bytes(h / group), x.kv.k.dtype, x.q.data + h * x.q.row_stride, dim, r.scale);
    });
    run_tasks(context.executor(), heads, [&](std::int64_t h, int) {
        const auto at = static_cast<std::size_t>(h);
        detail::PrefixWeights w{memory->own.data() + h * tokens,
                                memory->kept.data() + h * tokens,
                                memory->inverse.data() + h * tokens,
                                out.lse ? out.lse + h * tokens : nullptr,
                                memory->m[at],
                                memory->u[at]};
        detail::weigh_prefixes()(w, tokens);
        memory->m[at] = w.m;
        memory->u[at] = w.u;
    });
    const std::int64_t slices = ceil_div(dim_v, slice);
    run_tasks(context.executor(), heads * slices, [&](std::int64_t task, int) {
        const std::int64_t h = task / slices, begin = task % slices * slice;
        detail::PrefixValues p{.offset = x.kv.v.head_bytes(h / group),
                               .type = x.kv.v.dtype,
                               .begin = begin,
                               .count = std::min(slice, dim_v - begin),
                               .w = memory->w.data() + h * dim_v + begin,
                               .o_stride = out.o.token_stride};
        for (std::int64_t t = 0; t < tokens; t += together) {
            const std::byte *k[together], *v[together];
            const std::int64_t count = std::min(together, tokens - t);
            x.kv.locate(0, t, count, k, v);
            p.v = v;
            p.own = memory->own.data() + h * tokens + t;
            p.kept = memory->kept.data() + h * tokens + t;
            p.inverse = memory->inverse.data() + h * tokens + t;
            p.o = out.o.row(h, t) + begin;
            detail::add_prefixes()(p, count);
        }
    });
    std::copy_n(memory->m.begin(), out.m.size(), out.m.begin());
    std::copy_n(memory->u.begin(), out.u.size(), out.u.begin());
    for (std::int64_t h = 0; out.w && h < heads; ++h) std::copy_n(memory->w.data() + h * dim_v, dim_v, out.w.row(0, h));
}

ATTENTA_END
