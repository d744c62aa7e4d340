#pragma once

#include <attenta/analysis/common/weight_passes.hpp>
#include <attenta/analysis/head_intervention.hpp>
#include <attenta/softmax/softmax.hpp>

#include <algorithm>
#include <cmath>
#include <string>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_intervention_tensors(const Check& check, const HeadInterventionInputs& x,
                                       const std::optional<InterventionMode>& mode) {
    using Mode = InterventionMode;
    if (!mode) check.refuse("mode is missing, needs mask, uniform, affine, replace or shift");
    const auto need = [&](const char* name, bool given, bool needed) {
        if (needed && !given)
            check.refuse(std::string(name) + " is missing, needs it in mode " +
                         std::string(names_of(Mode())[static_cast<std::size_t>(*mode)]));
    };
    need("head_mask", !x.head_mask.empty(), *mode == Mode::mask || *mode == Mode::uniform || *mode == Mode::replace);
    need("gain", bool{x.gain}, *mode == Mode::affine);
    need("bias", bool{x.bias}, *mode == Mode::affine || *mode == Mode::replace || *mode == Mode::shift);
    need("gate_w", bool{x.gate_w}, *mode == Mode::shift);
    need("gate_b", !x.gate_b.empty(), *mode == Mode::shift);
}

/// The output of one row, changed in its place.
inline void change_row(const HeadInterventionInputs& x, InterventionMode mode, std::int64_t head, std::int64_t query,
                       float lse, Heads<float> o) {
    float* const row = o.row(head, query);
    const auto h = static_cast<std::size_t>(head);
    const auto of_head = [head](const Matrices<const float>& m) { return m.data + head * m.row_stride; };
    switch (mode) {
        case InterventionMode::mask:
            if (x.head_mask[h] == 0.f)
                std::fill_n(row, o.dim, 0.f);
            else
                scale_weights()(row, o.dim, x.head_mask[h], row);
            break;
        case InterventionMode::uniform:
            break;
        case InterventionMode::affine:
            scale_and_shift()(row, o.dim, of_head(x.gain), of_head(x.bias));
            break;
        case InterventionMode::replace:
            if (x.head_mask[h] == 0.f) std::copy_n(of_head(x.bias), o.dim, row);
            break;
        case InterventionMode::shift: {
            const float z = dot_of_weights()(x.q.row(head, query), of_head(x.gate_w), x.q.dim) + x.gate_b[h];
            add_weighted_row()(of_head(x.bias), o.dim, 1.f / (1.f + std::exp(lse - z)), row);
        }
    }
}

/// Queries of which those that weigh all keys equally are zeros.
inline Heads<const float> zeroed_queries(const HeadInterventionInputs& x, std::int64_t first_row,
                                         std::vector<float>& memory) {
    memory.assign(static_cast<std::size_t>(x.q.heads * x.q.tokens * x.q.dim), 0.f);
    const Heads<float> q = hnd(memory.data(), x.q.heads, x.q.tokens, x.q.dim);
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t i = 0; i < q.tokens; ++i)
            if (x.head_mask[static_cast<std::size_t>(h)] != 0.f || i < first_row)
                std::copy_n(x.q.row(h, i), q.dim, q.row(h, i));
    return q;
}

}  // namespace detail

ATTENTA_INLINE void head_intervention(const HeadInterventionInputs& x, const HeadInterventionOutputs& out,
                                      const HeadInterventionOptions& options, Context& context) {
    const char* const f = "head_intervention";
    WeightPasses passes(f, x, out.o, out.lse, options.causal, options.scale, context);
    Check check(f, InputList(x), x.kv);
    detail::check_intervention_tensors(check, x, options.mode);
    check.outputs(out, x, options);

    const std::int64_t queries = passes.queries();
    const std::int64_t first = options.positions == InterventionRows::last ? queries - 1 : 0;
    CalibrationMemory& memory = passes.memory();
    if (*options.mode == InterventionMode::uniform) {
        softmax_attention(detail::zeroed_queries(x, first, memory.q), x.kv, out.o, passes.options(), nullptr, context);
        if (out.lse) {
            passes.find_statistics();
            passes.give_lse(out.lse);
        }
        return;
    }
    memory.lse.resize(static_cast<std::size_t>(passes.rows()));
    float* const lse = out.lse ? out.lse : memory.lse.data();
    softmax_attention(x.q, x.kv, out.o, passes.options(), lse, context);
    const std::int64_t changed = queries - first;
    for_pieces(context, passes.heads() * changed, 64, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t n = begin; n < end; ++n) {
            const std::int64_t h = n / changed, i = first + n % changed;
            detail::change_row(x, *options.mode, h, i, lse[h * queries + i], out.o);
        }
    });
}

}  // namespace analysis

ATTENTA_END
