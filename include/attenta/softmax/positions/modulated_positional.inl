#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/softmax/positions/modulated_positional.hpp>
#include <attenta/softmax/row_products.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_modulated(const char* f, const ModulatedPositionalInputs& x, const ModulatedPositionalOptions& o) {
    const auto columns = [f](const char* name, const Matrices<const float>& m, std::int64_t needed) {
        if (m && m.cols != needed)
            fail(f, std::string(name) + " has " + checks::text(m.cols) + " columns, needs " + checks::text(needed));
    };
    columns("anchors", x.anchors, 4);
    columns("ref_wh", x.ref_wh, 2);
    columns("pos_scale", x.pos_scale, x.w_pos.tokens);
    if (x.w_pos.tokens % 4 != 0 || x.w_pos.tokens < 4)
        fail(f, "w_pos has " + checks::text(x.w_pos.tokens) + " rows, needs a multiple of 4");
    if (!std::isfinite(o.temperature) || o.temperature <= 0)
        fail(f, "temperature is " + std::to_string(o.temperature) + ", needs a finite number above 0");
    if (!o.modulate) return;
    if (!x.ref_wh) fail(f, "ref_wh is null, it modulates");
    for (std::int64_t n = 0; n < x.anchors.rows; ++n)
        for (std::int64_t c = 2; c < 4; ++c)
            if (const float size = x.anchors.row(0, n)[c]; size <= 0)
                fail(f, "anchors[" + checks::text(n) + "] has " + (c == 2 ? "w " : "h ") + std::to_string(size) +
                            ", needs more than 0");
}

/// The sinusoids of an anchor, [M].
class AnchorEmbedding {
public:
    AnchorEmbedding(const ModulatedPositionalInputs& x, const ModulatedPositionalOptions& o)
        : x_(x), modulate_(o.modulate), half_(x.w_pos.tokens / 2) {
        for (std::int64_t c = 0; c < half_ / 2; ++c)
            frequency_.push_back(2 * std::numbers::pi *
                                 std::pow(o.temperature, -2 * static_cast<double>(c) / static_cast<double>(half_)));
    }

    void write(std::int64_t n, float* e) const {
        const float* const anchor = x_.anchors.row(0, n);
        const auto ratio = [&](std::int64_t c) {  // of reference and anchor, 0: width, 1: height
            return modulate_ ? double{x_.ref_wh.row(0, n)[c]} / double{anchor[2 + c]} : 1.0;
        };
        write(double{anchor[1]}, ratio(1), e);
        write(double{anchor[0]}, ratio(0), e + half_);
        for (std::int64_t c = 0; x_.pos_scale && c < 2 * half_; ++c) e[c] *= x_.pos_scale.row(0, n)[c];
    }

private:
    void write(double z, double factor, float* e) const {
        for (const double w : frequency_) {
            *e++ = static_cast<float>(factor * std::sin(w * z));
            *e++ = static_cast<float>(factor * std::cos(w * z));
        }
    }

    const ModulatedPositionalInputs& x_;
    bool modulate_;
    std::int64_t half_;
    std::vector<double> frequency_;
};

struct ModulatedMemory {
    std::vector<float> e, q, k;
};

}  // namespace detail

ATTENTA_INLINE void modulated_positional(const ModulatedPositionalInputs& x, const ModulatedPositionalOutputs& out,
                                         const ModulatedPositionalOptions& options, Context& context) {
    const char* const f = "modulated_positional";
    VisibleKeys visibility;
    visibility.mask = options.mask;
    const std::int64_t content = x.q.dim, position = x.k_pos.dim, dim = saturating::add(content, position);
    detail::SoftmaxCall call = detail::check_softmax_tensors(
        f, x, out, detail::scale_or_default(options.scale, std::max<std::int64_t>(dim, 1)), visibility, context);
    if (position < 1) fail(f, "k_pos has no features, needs at least one");
    detail::check_modulated(f, x, options);
    const InputList inputs(x);
    const Heads<float> q_pos = hnd(out.q_pos, x.q.heads, x.q.tokens, position);
    detail::OutputMemory(f, inputs, x.q, call.request.kv, out.o, out.lse).add("q_pos", q_pos);

    const std::int64_t queries = x.q.tokens, width = x.w_pos.tokens;
    detail::ModulatedMemory memory;
    const auto room = [](std::vector<float>& m, std::int64_t heads, std::int64_t tokens, std::int64_t n) {
        m.resize(static_cast<std::size_t>(heads * tokens * n));
        return hnd(m.data(), heads, tokens, n);
    };
    const Heads<float> e = room(memory.e, 1, queries, width), q = room(memory.q, x.q.heads, queries, dim),
                       k = room(memory.k, x.k.heads, x.k.tokens, dim);
    const detail::AnchorEmbedding embedding(x, options);
    const detail::MultiplyRows multiply = detail::multiply_rows();
    constexpr std::int64_t together = 16;  // tokens of a task
    run_tasks(context.executor(), ceil_div(queries, together), [&](std::int64_t task, int) {
        const std::int64_t begin = task * together, n = std::min(together, queries - begin);
        for (std::int64_t t = begin; t < begin + n; ++t) embedding.write(t, e.row(0, t));
        for (std::int64_t h = 0; h < x.q.heads; ++h) {
            const detail::RowWeights w{x.w_pos.row(h, 0), width, position, x.w_pos.token_stride,
                                       x.b_pos.data + h * x.b_pos.row_stride};
            multiply(e.row(0, begin), width, n, w, q.row(h, begin) + content, dim);
            for (std::int64_t t = begin; t < begin + n; ++t) {
                std::copy_n(x.q.row(h, t), content, q.row(h, t));
                if (out.q_pos) std::copy_n(q.row(h, t) + content, position, q_pos.row(h, t));
            }
        }
    });
    run_tasks(context.executor(), ceil_div(x.k.tokens, together), [&](std::int64_t task, int) {
        for (std::int64_t t = task * together; t < std::min(x.k.tokens, (task + 1) * together); ++t)
            for (std::int64_t h = 0; h < x.k.heads; ++h) {
                std::copy_n(x.k.row(h, t), content, k.row(h, t));
                std::copy_n(x.k_pos.row(h, t), position, k.row(h, t) + content);
            }
    });
    call.request.q = q;
    call.request.kv = KvView::of(Heads<const float>(k), x.v);
    call.run();
}

ATTENTA_END
