#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/row_codes.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/variants/memory/hopfield.hpp>
#include <attenta/variants/memory/hopfield_kernels.hpp>
#include <attenta/variants/row_kernels.hpp>
#include <attenta/variants/whole_rows.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_hopfield(const char* f, const HopfieldInputs& x, const HopfieldOutputs& out, const HopfieldOptions& o,
                           float scale) {
    checks::require_at_least(f, "steps", o.steps, 0);
    if (!is_finite(o.tol) || o.tol < 0)
        fail(f, "tol is " + std::to_string(o.tol) + ", needs a finite number from 0 up");
    if (x.kv.tied > 0) fail(f, "kv has keys that begin with their values, needs keys that are a row of their own");
    if (out.energy && scale == 0.f) fail(f, "scale is 0, energy needs another one");
}

inline void check_hopfield_outputs(const char* f, const HopfieldInputs& x, const HopfieldOutputs& out) {
    const std::int64_t heads = x.q.heads, queries = x.q.tokens;
    if (out.state.data) checks::check_output(f, heads, queries, x.q.dim, out.state, "state");
    OutputMemory memory(f, InputList(x), x.q, x.kv, out.o, out.lse);
    memory.add("state", out.state);
    memory.add("steps", hnd(out.steps, heads, 1, 1));
    memory.add("energy", hnd(out.energy, heads, queries, 1));
}

struct HopfieldMemory {
    std::vector<float> state, next, lse, changes, norms, row;
    std::vector<double> change;
    std::vector<std::int64_t> steps;
    std::vector<std::uint8_t> done;
    WholeRowsMemory before, after;
};

/// The updates of all heads.
class HopfieldState {
public:
    HopfieldState(const SoftmaxCall& call, const HopfieldInputs& x, HopfieldMemory& memory)
        : call_(call), x_(x), m_(memory), heads_(x.q.heads), queries_(x.q.tokens) {
        const auto rows = static_cast<std::size_t>(heads_ * queries_), dim = static_cast<std::size_t>(x.q.dim);
        m_.state.resize(rows * dim);
        m_.next.resize(rows * dim);
        m_.steps.assign(static_cast<std::size_t>(heads_), 0);
        m_.done.assign(static_cast<std::size_t>(heads_), 0);
        const Heads<float> to = view(m_.state);
        for (std::int64_t h = 0; h < heads_; ++h)
            for (std::int64_t i = 0; i < queries_; ++i) std::copy_n(x.q.row(h, i), x.q.dim, to.row(h, i));
    }

    void update(const HopfieldOptions& o) {
        for (std::int64_t step = 0; step < o.steps; ++step) {
            retrieve_keys();
            if (step + 1 < o.steps) measure_change();
            take_over(step + 1 < o.steps, double{o.tol});
            if (std::find(m_.done.begin(), m_.done.end(), std::uint8_t{0}) == m_.done.end()) return;
        }
    }
    Heads<float> state() const { return view(m_.state); }

private:
    Heads<float> view(std::vector<float>& memory) const { return hnd(memory.data(), heads_, queries_, x_.q.dim); }

    /// next = softmax(β ξ Kᵀ) K
    void retrieve_keys() {
        attention::Request r = call_.request;
        r.q = view(m_.state);
        r.kv.v = r.kv.k;
        attention::plan(r, *call_.context).run(r.q, r.kv, view(m_.next), nullptr);
    }

    /// Of each head's weights, squared.
    void measure_change() {
        const std::int64_t keys = call_.keys();
        const std::int64_t range = queries_of_range(2 * heads_, keys, queries_);
        m_.change.assign(static_cast<std::size_t>(heads_), 0);
        m_.changes.resize(static_cast<std::size_t>(heads_ * queries_));
        const WeightChange change = weight_change();
        for (std::int64_t begin = 0; begin < queries_; begin += range) {
            const std::int64_t n = std::min(range, queries_ - begin);
            SoftmaxCall part = call_;
            part.request.q = Heads<const float>(view(m_.state)).slice(begin, n);
            const ScoreRange a = scores_of_range(part, begin, m_.before.scores);
            part.request.q = Heads<const float>(view(m_.next)).slice(begin, n);
            const ScoreRange b = scores_of_range(part, begin, m_.after.scores);
            for_score_rows(a, *call_.context, [&](const ScoreRow& row) {
                m_.changes[static_cast<std::size_t>(row.head * queries_ + row.query)] =
                    change(row.s, b.row(row.head, row.query - begin), row.count);
            });
        }
        for (std::size_t i = 0; i < m_.changes.size(); ++i)
            m_.change[i / static_cast<std::size_t>(queries_)] += double{m_.changes[i]};
    }

    /// Heads that have not ended take their next state.
    void take_over(bool measured, double tol) {
        const auto size = static_cast<std::size_t>(queries_ * x_.q.dim);
        for (std::size_t h = 0; h < m_.done.size(); ++h) {
            if (m_.done[h]) continue;
            std::copy_n(m_.next.data() + h * size, size, m_.state.data() + h * size);
            ++m_.steps[h];
            m_.done[h] = measured && std::sqrt(m_.change[h]) <= tol;
        }
    }

    const SoftmaxCall& call_;
    const HopfieldInputs& x_;
    HopfieldMemory& m_;
    std::int64_t heads_, queries_;
};

/// The largest |k|² of each head of K.
inline void largest_key_norms(const KvView& kv, HopfieldMemory& m, Context& context) {
    const SumSquares norm = sum_squares();
    m.norms.resize(static_cast<std::size_t>(kv.heads));
    m.row.resize(static_cast<std::size_t>(context.executor().concurrency() * kv.k.dim));
    run_tasks(context.executor(), kv.heads, [&](std::int64_t h, int slot) {
        float largest = 0;
        float* const widened = m.row.data() + slot * kv.k.dim;
        for (std::int64_t j = 0; j < kv.length(0, h); ++j) {
            const std::byte *k, *v;
            kv.locate(0, j, 1, &k, &v);
            k += kv.k.head_bytes(h);
            const float* row = reinterpret_cast<const float*>(k);
            if (kv.k.dtype != Dtype::f32) {
                load_row(k, kv.k.dim, kv.k.dtype, kv.k.codes, widened);
                row = widened;
            }
            largest = std::max(largest, norm(row, kv.k.dim));
        }
        m.norms[static_cast<std::size_t>(h)] = largest;
    });
}

inline void write_energy(const SoftmaxCall& call, const Heads<float>& state, const float* lse, HopfieldMemory& m,
                         float* energy) {
    const KvView& kv = call.request.kv;
    largest_key_norms(kv, m, *call.context);
    const std::int64_t group = state.heads / kv.heads;
    const double beta = double{call.request.scale};
    for (std::int64_t h = 0; h < state.heads; ++h) {
        const double keys = static_cast<double>(kv.length(0, h / group)),
                     norm = double{m.norms[static_cast<std::size_t>(h / group)]};
        for (std::int64_t i = 0; i < state.tokens; ++i) {
            const std::int64_t at = h * state.tokens + i;
            const double own = double{sum_squares()(state.row(h, i), state.dim)};
            energy[at] = static_cast<float>((std::log(keys) - double{lse[at]}) / beta + 0.5 * (own + norm));
        }
    }
}

}  // namespace detail

ATTENTA_INLINE void hopfield(const HopfieldInputs& x, const HopfieldOutputs& out, const HopfieldOptions& options,
                             Context& context) {
    const char* const f = "hopfield";
    const float scale = detail::scale_or_default(options.scale, std::max<std::int64_t>(x.q.dim, 1));
    detail::SoftmaxCall call = detail::check_variant(f, x, out, scale, {}, context);
    detail::check_hopfield(f, x, out, options, scale);
    detail::check_hopfield_outputs(f, x, out);

    detail::CallMemory<detail::HopfieldMemory> own(x.q.tokens, context);
    detail::HopfieldState state(call, x, *own);
    state.update(options);
    call.request.q = state.state();
    if (out.energy && !out.lse) {
        own->lse.resize(static_cast<std::size_t>(x.q.heads * x.q.tokens));
        call.out.lse = own->lse.data();
    }
    call.run();
    if (out.energy) detail::write_energy(call, state.state(), call.out.lse, *own, out.energy);
    if (out.steps) std::copy(own->steps.begin(), own->steps.end(), out.steps);
    for (std::int64_t h = 0; out.state.data && h < x.q.heads; ++h)
        for (std::int64_t i = 0; i < x.q.tokens; ++i)
            std::copy_n(state.state().row(h, i), x.q.dim, out.state.row(h, i));
}

ATTENTA_END
