#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/engine/select/request.hpp>
#include <attenta/softmax/own_keys.hpp>
#include <attenta/softmax/row_norms.hpp>
#include <attenta/softmax/row_products.hpp>
#include <attenta/softmax/scores/skim.hpp>
#include <attenta/softmax/scores/skim_kernels.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_boxes(const char* f, const SkimLayout& x) {
    for (std::int64_t t = 0; t < x.bbox.rows; ++t) {
        const std::int64_t* const box = x.bbox.row(0, t);
        const auto refuse = [&](const std::string& needed) {
            fail(f, "bbox[" + checks::text(t) + "] is [" + checks::text(box[0]) + ", " + checks::text(box[1]) + ", " +
                        checks::text(box[2]) + ", " + checks::text(box[3]) + "], needs " + needed);
        };
        for (std::int64_t c = 0; c < 4; ++c)
            if (box[c] < 0 || box[c] >= x.x_emb.rows) refuse("coordinates from 0 to " + checks::text(x.x_emb.rows - 1));
        if (box[2] < box[0] || box[3] < box[1]) refuse("right and bottom not before left and top");
    }
}

inline void check_layout(const char* f, const SkimLayout& x, const SkimOptions& o) {
    const InputList inputs(x);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    if (x.bbox.cols != 4) fail(f, "bbox has " + checks::text(x.bbox.cols) + " columns, needs 4");
    if (x.w_q.tokens != x.x_emb.cols)
        fail(f,
             "w_q has " + checks::text(x.w_q.tokens) + " rows, needs the " + checks::text(x.x_emb.cols) + " of x_emb");
    for (const auto& [name, n] : {std::pair{"bbox has no tokens", x.bbox.rows},
                                  {"w_q has no heads", x.w_q.heads},
                                  {"w_q has no features", x.w_q.dim},
                                  {"x_emb has no features", x.x_emb.cols}})
        if (n < 1) fail(f, std::string(name) + ", needs at least one");
    if (!o.centres_only)
        for (const auto& [name, table] : {std::pair{"h_emb", x.h_emb}, {"w_emb", x.w_emb}})
            if (!table) fail(f, std::string(name) + " is null, needed without centres_only");
    check_norm_eps(f, o.eps);
    check_boxes(f, x);
}

/// Queries and keys of the boxes, [H, T, D].
class LayoutRows {
public:
    LayoutRows(const SkimLayout& x, const SkimOptions& o, float factor, Context& context)
        : x_(x), q_(room(q_memory_)), k_(room(k_memory_)) {
        constexpr std::int64_t together = 16;  // tokens of a task
        const std::int64_t tokens = x.bbox.rows, m = x.x_emb.cols;
        e_.resize(static_cast<std::size_t>(tokens * m));
        run_tasks(context.executor(), ceil_div(tokens, together), [&](std::int64_t task, int) {
            const std::int64_t begin = task * together, n = std::min(together, tokens - begin);
            float* const e = e_.data() + begin * m;
            for (std::int64_t t = 0; t < n; ++t) embed(begin + t, o, e + t * m);
            for (std::int64_t h = 0; h < x.w_q.heads; ++h) {
                project(e, n, x.w_q, x.b_q, h, q_.row(h, begin));
                project(e, n, x.w_k, x.b_k, h, k_.row(h, begin));
                for (std::int64_t i = 0; factor != 1 && i < n * x.w_q.dim; ++i) q_.row(h, begin)[i] *= factor;
            }
        });
    }

    const Heads<float>& q() const { return q_; }
    const Heads<float>& k() const { return k_; }

private:
    Heads<float> room(std::vector<float>& memory) const {
        memory.resize(static_cast<std::size_t>(x_.w_q.heads * x_.bbox.rows * x_.w_q.dim));
        return hnd(memory.data(), x_.w_q.heads, x_.bbox.rows, x_.w_q.dim);
    }

    void embed(std::int64_t t, const SkimOptions& o, float* e) const {
        const std::int64_t* const box = x_.bbox.row(0, t);
        std::array<const float*, 6> rows{};
        std::int64_t count = 0;
        if (o.centres_only) {
            for (const float* row : {x_.x_emb.row(0, (box[0] + box[2]) / 2), x_.y_emb.row(0, (box[1] + box[3]) / 2)})
                rows[static_cast<std::size_t>(count++)] = row;
        } else {
            for (const float* row :
                 {x_.x_emb.row(0, box[0]), x_.y_emb.row(0, box[1]), x_.x_emb.row(0, box[2]), x_.y_emb.row(0, box[3]),
                  x_.h_emb.row(0, box[3] - box[1]), x_.w_emb.row(0, box[2] - box[0])})
                rows[static_cast<std::size_t>(count++)] = row;
        }
        const std::int64_t m = x_.x_emb.cols;
        sum_rows()(rows.data(), count, m, e);
        normalize_row()(e, m, VectorNorm::layer, o.eps, x_.ln_weight.data(), x_.ln_bias.data(), e);
    }

    static void project(const float* e, std::int64_t n, const Heads<const float>& w, const Matrices<const float>& bias,
                        std::int64_t h, float* to) {
        multiply_rows()(e, w.tokens, n, {w.row(h, 0), w.tokens, w.dim, w.token_stride, bias.data + h * bias.row_stride},
                        to, w.dim);
    }

    const SkimLayout& x_;
    std::vector<float> e_, q_memory_, k_memory_;
    Heads<float> q_, k_;
};

/// copy(layer, row) for the rows of values of layers [L, rows, D], which are brought side by side, [rows, L·D], or back.
template <class Copy>
void for_layer_rows(std::int64_t layers, std::int64_t rows, Context& context, Copy&& copy) {
    constexpr std::int64_t together = 64;  // rows of a task
    run_tasks(context.executor(), ceil_div(rows, together), [&](std::int64_t task, int) {
        for (std::int64_t row = task * together; row < std::min(rows, (task + 1) * together); ++row)
            for (std::int64_t l = 0; l < layers; ++l) copy(l, row);
    });
}

inline void check_skim_outputs(const char* f, const SkimLayout& layout, const HeadsBatch<const float>& v,
                               const SkimOutputs& out, const SkimOptions& options) {
    const std::int64_t heads = layout.w_q.heads, tokens = layout.bbox.rows;
    if (out.o.batch != v.batch || out.o.heads != heads || out.o.tokens != tokens || out.o.dim != v.dim)
        fail(f, "o is [" + checks::text(out.o.batch) + ", " +
                    checks::shape(out.o.heads, out.o.tokens, out.o.dim).substr(1) + ", needs [" +
                    checks::text(v.batch) + ", " + checks::shape(heads, tokens, v.dim).substr(1));
    checks::check_pointer(f, "o", out.o.data, sizeof(float), true);
    const InputList inputs(layout);
    OutputMemory memory(f, inputs);
    memory.take({"v", bytes_of(v.all())});
    memory.take({"mask", bytes_of(options.mask, 1)});
    memory.add("o", out.o.all());
    memory.add("lse", hnd(out.lse, heads, tokens, 1));
}

/// Scores of a row for ranking: keys that a mask hides have none.
inline void hide_from_row(const void* mask, const select::RowScores& row) {
    const auto& seen = *static_cast<const Matrices<const bool>*>(mask);
    const std::int64_t known = std::min(seen.cols, row.count);
    hide_keys()(row.scores, seen.row(row.list_head, row.query), known, row.units);
    std::fill(row.units + known, row.units + row.count, -std::numeric_limits<float>::infinity());
}

/// keep [heads, T, T], or null, where every visible key is kept.
inline void keep_visible(const Matrices<const bool>& mask, std::int64_t heads, std::int64_t tokens, bool* keep) {
    for (std::int64_t row = 0; keep && row < heads * tokens; ++row, keep += tokens) {
        std::fill_n(keep, tokens, !mask);
        if (mask) std::copy_n(mask.row(row / tokens, row % tokens), mask.cols, keep);
    }
}

}  // namespace detail

ATTENTA_INLINE void skim(const SkimLayout& layout, const HeadsBatch<const float>& v, const SkimOutputs& out,
                         const SkimOptions& options, Context& context) {
    const char* const f = "skim";
    detail::check_layout(f, layout, options);
    const std::int64_t heads = layout.w_q.heads, tokens = layout.bbox.rows, layers = v.batch;
    if (layers < 1 || v.heads < 1 || heads % v.heads != 0 || v.tokens != tokens || v.dim < 1)
        fail(f, "v is [" + checks::text(layers) + ", " + checks::shape(v.heads, v.tokens, v.dim).substr(1) +
                    ", needs layers of heads that divide the " + checks::text(heads) + " of w_q, and " +
                    checks::text(tokens) + " tokens");
    if (options.top_k != 0) fail(f, "top_k is " + checks::text(options.top_k) + ", needs 0, or skim_mask");
    if (checks::elements(saturating::multiply(layers, heads), tokens, v.dim) > checks::most_elements)
        fail(f, "v has more features than memory holds outputs of");
    checks::check_pointer(f, "v", v.data, sizeof(float), true);
    check_memory(f, "v", v.all());
    detail::check_skim_outputs(f, layout, v, out, options);

    // One wide value for all layers, in whose place one layer stands as it is.
    const std::int64_t width = layers * v.dim;
    std::vector<float> values, results;
    Heads<const float> value = v.first();
    Heads<float> o = out.o.first();
    if (layers > 1) {
        values.resize(static_cast<std::size_t>(v.heads * tokens * width));
        results.resize(static_cast<std::size_t>(heads * tokens * width));
        value = hnd<const float>(values.data(), v.heads, tokens, width);
        o = hnd(results.data(), heads, tokens, width);
        detail::for_layer_rows(layers, v.heads * tokens, context, [&](std::int64_t l, std::int64_t row) {
            std::copy_n(v.data + (l * v.heads * tokens + row) * v.dim, v.dim, values.data() + row * width + l * v.dim);
        });
    }
    const detail::LayoutRows rows(layout, options, 1, context);
    VisibleKeys visibility;
    visibility.mask = options.mask;
    const Heads<const float> spread{value.data, heads, tokens, width, 0, width};
    const detail::SoftmaxCall call = detail::check_softmax({f,
                                                            {},
                                                            rows.q(),
                                                            KvView::of(Heads<const float>(rows.k()), spread),
                                                            {o, out.lse},
                                                            detail::scale_or_default(options.scale, layout.w_q.dim),
                                                            visibility},
                                                           context);
    detail::attend_with_own_keys(call, rows.k(), value);
    if (layers > 1)
        detail::for_layer_rows(layers, heads * tokens, context, [&](std::int64_t l, std::int64_t row) {
            std::copy_n(results.data() + row * width + l * v.dim, v.dim,
                        out.o.data + (l * heads * tokens + row) * v.dim);
        });
}

ATTENTA_INLINE void skim_mask(const SkimLayout& layout, const Heads<const float>& q, const KvView& kv,
                              const SkimMaskOutputs& out, const SkimOptions& options, Context& context) {
    const char* const f = "skim_mask";
    detail::check_layout(f, layout, options);
    checks::require_at_least(f, "top_k", options.top_k, 1);
    const std::int64_t heads = layout.w_q.heads, tokens = layout.bbox.rows;
    if (q.heads != heads || q.tokens != tokens || kv.sequences != 1 || kv.length(0) != tokens)
        fail(f, "q is " + checks::shape(q.heads, q.tokens, q.dim) + " beside keys of " +
                    checks::text(kv.sequences == 1 ? kv.length(0) : 0) + " tokens, needs [" + checks::text(heads) +
                    ", " + checks::text(tokens) + ", Dq] and as many keys");
    if (kv.positions || kv.differs_by_head()) fail(f, "kv has positions, needs the tokens of the boxes in their order");
    if (tokens >= std::int64_t{1} << 31) fail(f, "bbox has " + checks::text(tokens) + " tokens, needs fewer than 2^31");
    const float scale = detail::scale_or_default(options.scale, layout.w_q.dim);
    if (!is_finite(scale)) fail(f, "scale is " + std::to_string(scale) + ", needs a finite number");
    VisibleKeys visibility;
    visibility.mask = options.mask;
    const InputList inputs(layout);
    detail::SoftmaxCall call = detail::check_softmax(
        {f, inputs, q, kv, out, detail::scale_or_default({}, std::max<std::int64_t>(q.dim, 1)), visibility}, context);
    detail::OutputMemory memory(f, inputs, q, kv, out.o, out.lse);
    memory.take({"mask", bytes_of(options.mask, 1)});
    memory.add("keep", hnd(out.keep, heads, tokens, tokens));

    if (options.top_k >= tokens) {
        call.run();
        detail::keep_visible(options.mask, heads, tokens, out.keep);
        return;
    }
    // The sign of a scale decides which scores are large; its size does not.
    const detail::LayoutRows rows(layout, options, scale > 0 ? 1.f : scale < 0 ? -1.f : 0.f, context);
    select::Request chosen;
    chosen.function = f;
    chosen.q = rows.q();
    chosen.keys = KvView::of(Heads<const float>(rows.k()), Heads<const float>(rows.k()));
    chosen.heads = heads;
    chosen.visible_keys = chosen.units = {.count = tokens, .causal = false};
    chosen.top = options.top_k;
    chosen.cache_keys = tokens;
    if (options.mask) {
        chosen.row = &detail::hide_from_row;
        chosen.row_parameters = &options.mask;
    }
    KeyLists lists;
    select::run(chosen, lists, context);
    call.request.masks.clear();  // hidden keys are on no list
    call.request.lists = {&lists, 1};
    call.run();
    if (!out.keep) return;
    std::fill_n(out.keep, heads * tokens * tokens, false);
    for (std::int64_t list = 0; list < lists.lists(); ++list)
        for (const KeyRun& run : lists.runs(list)) std::fill_n(out.keep + list * tokens + run.start, run.count, true);
}

ATTENTA_END
