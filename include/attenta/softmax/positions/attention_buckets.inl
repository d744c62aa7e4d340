#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/softmax/positions/attention_buckets.hpp>
#include <attenta/softmax/positions/attention_buckets_kernels.hpp>
#include <attenta/softmax/positions/prepared_rows.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

ATTENTA_BEGIN

namespace detail {

inline std::string shape_of(const HeadsBatch<const float>& x) {
    return "[" + checks::text(x.batch) + ", " + checks::shape(x.heads, x.tokens, x.dim).substr(1);
}

inline void check_buckets(const char* f, const AttentionBucketsInputs& x, const AttentionBucketsOptions& o) {
    if (o.scale && !is_finite(*o.scale)) fail(f, "scale is " + std::to_string(*o.scale) + ", needs a finite number");
    const auto runs = static_cast<std::int64_t>(o.bases.size());
    if (runs < 1) fail(f, "bases are none, needs at least one");
    for (const double base : o.bases) check_rotary_base(f, "bases", base);
    const auto check = [&](const char* name, const HeadsBatch<const float>& t) {
        if ((t.batch != 1 && t.batch != runs) || t.heads < 1 || t.tokens < 1 || t.dim < 1)
            fail(f, std::string(name) + " is " + shape_of(t) + ", needs 1 or " + checks::text(runs) +
                        " runs and at least one of all else");
        if (checks::elements(saturating::multiply(t.batch, t.heads), t.tokens, t.dim) > checks::most_elements)
            fail(f, std::string(name) + " is " + shape_of(t) + ", memory does not hold as many elements");
        checks::check_pointer(f, name, t.data, sizeof(float), true);
        check_memory(f, name, t.all());
    };
    check("q", x.q), check("k", x.k), check("v", x.v);
    if (x.k.heads != x.v.heads || x.k.tokens != x.v.tokens || x.k.dim != x.q.dim)
        fail(f, "k is " + shape_of(x.k) + " and v is " + shape_of(x.v) + ", needs the " + checks::text(x.q.dim) +
                    " features of q, and the same heads and tokens");
    if (x.q.dim % 2 != 0) fail(f, "q has " + checks::text(x.q.dim) + " features, needs an even number");
}

/// The heads of a run, which may be those of all.
template <class T>
Heads<T> heads_of_run(const HeadsBatch<T>& x, std::int64_t run) {
    Heads<T> h = x.first();
    h.data += (x.batch == 1 ? 0 : run) * x.heads * x.tokens * x.dim;
    return h;
}

}  // namespace detail

ATTENTA_INLINE void attention_buckets(const AttentionBucketsInputs& x, const AttentionBucketsOutputs& out,
                                      const AttentionBucketsOptions& options, Context& context) {
    const char* const f = "attention_buckets";
    detail::check_buckets(f, x, options);
    const auto runs = static_cast<std::int64_t>(options.bases.size());
    if (out.o.batch != runs) fail(f, "o has " + checks::text(out.o.batch) + " runs, needs " + checks::text(runs));
    // One check for all runs: their heads as if they were of one call.
    VisibleKeys visibility;
    visibility.causal = options.causal;
    visibility.q_offset = options.q_offset;
    const SoftmaxOutputs first{detail::heads_of_run(out.o, 0), out.lse};
    const Heads<const float> q0 = x.q.first();
    detail::SoftmaxCall call = detail::check_softmax({f,
                                                      {},
                                                      q0,
                                                      KvView::of(x.k.first(), x.v.first()),
                                                      first,
                                                      detail::scale_or_default(options.scale, x.q.dim),
                                                      visibility},
                                                     context);
    const std::int64_t rows = x.q.heads * x.q.tokens;
    const std::array inputs = {NamedBytes{"q", bytes_of(x.q.all())}, NamedBytes{"k", bytes_of(x.k.all())},
                               NamedBytes{"v", bytes_of(x.v.all())}};
    const Bytes o = bytes_of(out.o.all()), lse = out.lse ? bytes_of(hnd(out.lse, runs, rows, 1)) : Bytes{};
    checks::check_extent(f, "o", o);
    checks::check_apart(f, "o", o, inputs);
    checks::check_apart(f, "lse", lse, inputs);
    checks::check_apart(f, "lse", lse, std::array{NamedBytes{"o", o}});

    const std::int64_t position = call.first_position();
    detail::CallMemory<detail::PreparedMemory> memory(x.q.tokens, context);
    const Heads<float> q = memory->queries(x.q.heads, x.q.tokens, x.q.dim),
                       k = memory->keys(x.k.heads, x.k.tokens, x.k.dim);
    call.request.q = q;
    for (std::int64_t n = 0; n < runs; ++n) {
        rotary::set_frequencies(memory->frequencies, x.q.dim, options.bases[static_cast<std::size_t>(n)]);
        const detail::RowPreparation how{.frequencies = memory->frequencies,
                                         .interleaved = options.layout == RopeLayout::interleaved};
        detail::prepare_rows(detail::heads_of_run(x.q, n), position, how, q, context);
        detail::prepare_rows(detail::heads_of_run(x.k, n), 0, how, k, context);
        call.request.kv = KvView::of(Heads<const float>(k), detail::heads_of_run(x.v, n));
        call.out = {detail::heads_of_run(out.o, n), out.lse ? out.lse + n * rows : nullptr};
        call.run();
    }
}

ATTENTA_INLINE void mix_bucket_logits(const Matrices<const float>& logits, std::span<float> weight,
                                      std::span<float> mixed, Context& context) {
    const char* const f = "mix_bucket_logits";
    const auto size = [](std::span<float> x) { return static_cast<std::int64_t>(x.size()); };
    if (logits.heads != 1 || logits.rows < 1 || logits.cols < 1)
        fail(f, "logits is " + checks::shape(logits.heads, logits.rows, logits.cols) +
                    ", needs one matrix of at least one run and word");
    if (size(weight) != logits.rows)
        fail(f, "weight has " + checks::text(size(weight)) + " elements, needs " + checks::text(logits.rows));
    if (size(mixed) != logits.cols)
        fail(f, "mixed has " + checks::text(size(mixed)) + " elements, needs " + checks::text(logits.cols));
    const Heads<const float> rows{logits.data, logits.rows, 1, logits.cols, logits.row_stride, 0};
    checks::check_pointer(f, "logits", logits.data, sizeof(float), true);
    checks::check_pointer(f, "weight", weight.data(), sizeof(float), true);
    checks::check_pointer(f, "mixed", mixed.data(), sizeof(float), true);
    check_memory(f, "logits", rows);
    const std::array inputs = {NamedBytes{"logits", bytes_of(rows)}};
    checks::check_apart(f, "weight", bytes_of(weight), inputs);
    checks::check_apart(f, "mixed", bytes_of(mixed), inputs);
    checks::check_apart(f, "mixed", bytes_of(mixed), std::array{NamedBytes{"weight", bytes_of(weight)}});

    const detail::LargestOf largest = detail::largest_of();
    for (std::int64_t n = 0; n < logits.rows; ++n)
        weight[static_cast<std::size_t>(n)] = largest(logits.row(0, n), logits.cols);
    const float top = *std::max_element(weight.begin(), weight.end());
    float sum = 0;
    for (float& w : weight) sum += w = w == top ? 1.f : std::exp(w - top);
    for (float& w : weight) w /= sum;
    constexpr std::int64_t together = 4096;  // words of a task
    const detail::MixRows mix = detail::mix_rows();
    run_tasks(context.executor(), ceil_div(logits.cols, together), [&](std::int64_t task, int) {
        const std::int64_t begin = task * together, n = std::min(together, logits.cols - begin);
        mix(logits.data + begin, logits.row_stride, logits.rows, weight.data(), n, mixed.data() + begin);
    });
}

ATTENTA_END
