#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/scale.hpp>
#include <attenta/variants/structured/kernels.hpp>
#include <attenta/variants/structured/triadic.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct TriadicMemory {
    std::vector<float> q, k, v, mean_q, mean_k, mean_v;
};

inline void check_triadic(const TriadicInputs& x, const TriadicOutputs& out, const TriadicOptions& options) {
    CheckedCall check("triadic", InputList(x));
    check.at_least("loops", options.loops, 0);
    check.finite("scale", options.scale);
    const std::int64_t heads = x.q.heads, latents = x.q.tokens, tokens = x.k.tokens, dim = x.q.dim;
    check.scratch("q", heads, latents, dim);
    check.scratch("k", heads, tokens, dim);
    check.output("o", out.o, heads, latents, dim);
    check.output("lse", out.lse, heads, latents, 1);
    check.output("q", out.q, heads, latents, dim);
    check.output("k", out.k, heads, tokens, dim);
    check.output("v", out.v, heads, tokens, dim);
}

/// q, k and v of a call, which the loops change.
class TriadicLoops {
public:
    TriadicLoops(const TriadicInputs& x, const TriadicOutputs& out, TriadicMemory& m, Context& context)
        : context_(context), q_(copy(x.q, out.q, m.q)), k_(copy(x.k, out.k, m.k)), v_(copy(x.v, out.v, m.v)) {
        for (const auto& [mean, memory] :
             {std::pair{&mean_q_, &m.mean_q}, {&mean_k_, &m.mean_k}, {&mean_v_, &m.mean_v}}) {
            memory->resize(static_cast<std::size_t>(q_.heads * q_.dim));
            *mean = memory->data();
        }
    }

    void run(bool product) {
        const structured::CooperateRow cooperate = structured::cooperate_row();
        const std::int64_t dim = q_.dim;
        average(k_, mean_k_);
        average(v_, mean_v_);
        for_rows(q_, [&](std::int64_t h, std::int64_t t) {
            cooperate(q_.row(h, t), mean_k_ + h * dim, mean_v_ + h * dim, dim, product);
        });
        average(q_, mean_q_);
        for_rows(k_, [&](std::int64_t h, std::int64_t t) {
            cooperate(k_.row(h, t), mean_q_ + h * dim, v_.row(h, t), dim, product);
            cooperate(v_.row(h, t), mean_q_ + h * dim, k_.row(h, t), dim, product);
        });
    }
    const Heads<float>& q() const { return q_; }
    const Heads<float>& k() const { return k_; }
    const Heads<float>& v() const { return v_; }

private:
    template <class F>
    void for_rows(const Heads<float>& x, F&& f) const {
        constexpr std::int64_t of_task = 64;
        const std::int64_t parts = (x.tokens + of_task - 1) / of_task;
        run_tasks(context_.executor(), x.heads * parts, [&](std::int64_t i, int) {
            const std::int64_t begin = i % parts * of_task;
            for (std::int64_t t = begin; t < std::min(x.tokens, begin + of_task); ++t) f(i / parts, t);
        });
    }
    Heads<float> copy(const Heads<const float>& x, float* wanted, std::vector<float>& memory) const {
        if (!wanted) memory.resize(static_cast<std::size_t>(x.heads * x.tokens * x.dim));
        const Heads<float> to = hnd(wanted ? wanted : memory.data(), x.heads, x.tokens, x.dim);
        for_rows(to, [&](std::int64_t h, std::int64_t t) { std::copy_n(x.row(h, t), x.dim, to.row(h, t)); });
        return to;
    }
    void average(const Heads<float>& x, float* to) const {
        constexpr std::int64_t channels = 64;
        const std::int64_t parts = (x.dim + channels - 1) / channels;
        run_tasks(context_.executor(), x.heads * parts, [&](std::int64_t i, int) {
            const std::int64_t h = i / parts, begin = i % parts * channels;
            structured::mean_of_rows()(x.row(h, 0) + begin, x.token_stride, x.tokens, std::min(channels, x.dim - begin),
                                       to + h * x.dim + begin);
        });
    }

    Context& context_;
    Heads<float> q_, k_, v_;
    float *mean_q_ = nullptr, *mean_k_ = nullptr, *mean_v_ = nullptr;
};

}  // namespace detail

ATTENTA_INLINE void triadic(const TriadicInputs& x, const TriadicOutputs& out, const TriadicOptions& options,
                            Context& context) {
    detail::check_triadic(x, out, options);
    const detail::CallMemory<detail::TriadicMemory> memory(std::max(x.q.tokens, x.k.tokens), context);
    detail::TriadicLoops loops(x, out, *memory, context);
    for (std::int64_t i = 0; i < options.loops; ++i) loops.run(options.cooperation == Cooperation::product);
    attention::Request r;
    r.function = "triadic";
    r.q = loops.q();
    r.kv = KvView::of(Heads<const float>(loops.k()), Heads<const float>(loops.v()));
    r.scale = detail::scale_or_default(options.scale, x.q.dim);
    attention::plan(r, context).run(r.q, r.kv, out.o, out.lse);
}

ATTENTA_END
