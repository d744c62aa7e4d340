#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/linear/features/row_sums.hpp>
#include <attenta/linear/recurrent/chunk.hpp>
#include <attenta/linear/recurrent/titans.hpp>
#include <attenta/linear/recurrent/titans_kernels.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <tuple>
#include <utility>

ATTENTA_BEGIN

namespace detail {

/// A call. Chunks go in blocks of their tokens, each a few matrix products.
struct TitansCall {
    static constexpr std::int64_t most_block = 64;

    const TitansInputs& x;
    Heads<float> o;
    const TitansOptions& options;
    TitansState& state;
    std::int64_t dim, hidden, dim_v, block;

    TitansCall(const TitansInputs& inputs, Heads<float> out, const TitansOptions& chosen, TitansState& past)
        : x(inputs),
          o(out),
          options(chosen),
          state(past),
          dim(inputs.k.dim),
          hidden(past.two_layers() ? past.second.weights.dim : 0),
          dim_v(inputs.v.dim),
          block(std::min({chosen.chunk, most_block, inputs.k.tokens})) {}

    bool deep() const { return hidden > 0; }
    std::int64_t first_width() const { return deep() ? hidden : dim_v; }
    /// Gradients are taken at weights that have moved on by then.
    bool keeps_weights() const { return std::min(options.chunk, x.k.tokens) > block; }
    TitansWrap wrap() const { return {options.norm, options.residual, options.norm_eps, options.loss_scale}; }
};

/// A head's scratch: rows of a block.
struct TitansScratch {
    float *k, *q, *hidden, *slope, *error, *read, *other, *o, *pairs, *mix, *kept, *moved, *last_w, *last_z, *scaled,
        *first, *second;

    TitansScratch(Arena& arena, const TitansCall& c) {
        const std::int64_t n = c.block, widest = std::max(c.hidden, c.dim_v);
        for (float** array : {&k, &q}) *array = arena.take<float>(n * c.dim);
        for (float** array : {&hidden, &slope, &read}) *array = arena.take<float>(n * c.hidden);
        for (float** array : {&error, &o}) *array = arena.take<float>(n * c.dim_v);
        for (float** array : {&pairs, &mix}) *array = arena.take<float>(n * n);
        for (float** array : {&kept, &moved, &last_w, &last_z}) *array = arena.take<float>(n);
        other = arena.take<float>(n * widest);
        scaled = arena.take<float>(n * std::max(c.dim, c.hidden));
        first = arena.take<float>(c.keeps_weights() ? c.dim * c.first_width() : 0);
        second = arena.take<float>(c.keeps_weights() ? c.hidden * c.dim_v : 0);
    }
};

/// A layer of a head: weights and momentum [rows, columns], and the gradient's vectors of a block's tokens.
struct TitansHeadLayer {
    float *w, *z;
    std::int64_t rows, columns;
    const float *l, *r;
};

/// A head's tokens, block by block.
class TitansHead {
public:
    TitansHead(const TitansCall& call, std::int64_t head, Executor& executor, std::byte* scratch, std::byte* products)
        : c_(call),
          head_(head),
          executor_(executor),
          arena_(scratch),
          s_(arena_, call),
          multiply_(executor, products),
          first_(layer_of(call.state.first, s_.k, call.deep() ? s_.slope : s_.error)) {
        if (c_.deep()) second_ = layer_of(c_.state.second, s_.hidden, s_.error);
    }

    void run() {
        const std::int64_t tokens = c_.x.k.tokens;
        for (std::int64_t chunk = 0; chunk < tokens; chunk += std::min(c_.options.chunk, tokens - chunk)) {
            const std::int64_t end = chunk + std::min(c_.options.chunk, tokens - chunk);
            if (end - chunk > c_.block) keep_weights();
            const float *const first = end - chunk > c_.block ? s_.first : first_.w, *const second =
                                                                                         end - chunk > c_.block
                                                                                             ? s_.second
                                                                                             : second_.w;
            for (std::int64_t begin = chunk; begin < end; begin += c_.block) {
                const std::int64_t n = std::min(c_.block, end - begin);
                take_rows(begin, n);
                take_gradients(begin, n, first, second);
                n == 1 ? step(begin) : take_block(begin, n);
            }
        }
    }

private:
    static constexpr std::int64_t rows_of_task = 8, columns_of_task = 256;

    TitansHeadLayer layer_of(TitansLayer& layer, const float* l, const float* r) const {
        return {layer.weights.of(head_), layer.momentum.of(head_), layer.weights.dim, layer.weights.dim_v, l, r};
    }
    void keep_weights() {
        std::copy_n(first_.w, first_.rows * first_.columns, s_.first);
        std::copy_n(second_.w, second_.rows * second_.columns, s_.second);
    }
    /// fn(row) for n rows.
    template <class F>
    void for_rows(std::int64_t n, F&& fn) const {
        executor_.parallel_for(ceil_div(n, rows_of_task), [&](std::int64_t task, int) {
            const FlushToZero flush;
            for (std::int64_t i = task * rows_of_task; i < std::min(n, (task + 1) * rows_of_task); ++i) fn(i);
        });
    }

    void take_rows(std::int64_t begin, std::int64_t n) {
        const features::L2Norm norm{c_.options.eps};
        const auto take = [&](const Heads<const float>& y, std::int64_t i, float* to) {
            const float* const row = y.row(head_, begin + i);
            if (c_.options.qk_l2norm)
                features::l2_norm()({&norm, c_.dim, c_.dim, head_, begin + i}, row, to + i * c_.dim);
            else
                std::copy_n(row, c_.dim, to + i * c_.dim);
        };
        for_rows(n, [&](std::int64_t i) { take(c_.x.k, i, s_.k), take(c_.x.q, i, s_.q); });
    }

    /// y [n, columns of the layer] = x w
    void multiply(const float* x, const TitansHeadLayer& layer, const float* w, std::int64_t n, float* y) const {
        multiply_({.a = x,
                   .b = w,
                   .c = y,
                   .m = n,
                   .n = layer.columns,
                   .k = layer.rows,
                   .a_stride = layer.rows,
                   .b_stride = layer.columns,
                   .c_stride = layer.columns});
    }
    void activate(const float* x, std::int64_t n, float* y, float* slope) const {
        for_rows(n, [&, function = titans_activate()](std::int64_t i) {
            const std::int64_t at = i * c_.hidden;
            function(c_.options.activation, x + at, c_.hidden, y + at, slope ? slope + at : nullptr);
        });
    }
    /// The vectors l and r of n tokens, at the weights of the chunk's start.
    void take_gradients(std::int64_t begin, std::int64_t n, const float* first, const float* second) {
        if (c_.deep()) {
            multiply(s_.k, first_, first, n, s_.hidden);
            activate(s_.hidden, n, s_.hidden, s_.slope);
            multiply(s_.hidden, second_, second, n, s_.error);
        } else {
            multiply(s_.k, first_, first, n, s_.error);
        }
        for_rows(n, [&, error = titans_error()](std::int64_t i) {
            error(c_.wrap(), s_.error + i * c_.dim_v, s_.k + i * c_.dim, c_.x.v.row(head_, begin + i), c_.dim_v);
        });
        if (!c_.deep()) return;
        multiply_({.a = s_.error,
                   .b = second,
                   .c = s_.other,
                   .m = n,
                   .n = c_.hidden,
                   .k = c_.dim_v,
                   .a_stride = c_.dim_v,
                   .b_stride = c_.dim_v,
                   .c_stride = c_.hidden,
                   .b_transposed = true});
        for_rows(n, [&, product = sum_of_products()](std::int64_t i) {
            const std::int64_t at = i * c_.hidden;
            const RowProduct both{.x = s_.slope + at, .a = s_.other + at};
            product(&both, 1, s_.slope + at, c_.hidden);
        });
    }

    /// Tokens `from` .. of the block that may be summed: up to the first whose gradient or gates are not finite.
    std::int64_t tokens_together(std::int64_t begin, std::int64_t from, std::int64_t n) const {
        std::int64_t count = n - from;
        for (const Heads<const float>& gate : {c_.x.theta, c_.x.alpha, c_.x.eta})
            count = tokens_to_sum(gate, head_, begin + from, count);
        const auto rows = [&](const float* x, std::int64_t dim) {
            count = tokens_to_sum(hnd(x + from * dim, 1, n - from, dim), 0, 0, count);
        };
        rows(s_.k, c_.dim), rows(s_.error, c_.dim_v);
        if (c_.deep()) rows(s_.hidden, c_.hidden), rows(s_.slope, c_.hidden);
        return count;
    }

    struct Mixing {
        float b = 1, f = 0, m = 1;
    };
    /// Coefficients of `count` tokens: those of each row's read in kept (b), moved (f) and mix (G, rows `stride` apart), those
    /// of the last weights and momenta in last_w (G) and last_z (N). Returns b, f and m behind the last token.
    Mixing mix(std::int64_t begin, std::int64_t count, std::int64_t stride) {
        const bool before = c_.options.read == TitansRead::before;
        Mixing all;
        std::fill_n(s_.mix, stride * stride, 0.f);
        std::fill_n(s_.last_w, stride, 0.f);
        std::fill_n(s_.last_z, stride, 0.f);
        for (std::int64_t i = 0; i < count; ++i) {
            const auto give = [&] {
                s_.kept[i] = all.b, s_.moved[i] = all.f;
                std::copy_n(s_.last_w, i + 1, s_.mix + i * stride);
            };
            if (before) give();
            const float eta = c_.x.eta.row(head_, begin + i)[0], keep = 1 - c_.x.alpha.row(head_, begin + i)[0];
            all.m *= eta;
            all.b *= keep;
            all.f = keep * all.f + all.m;
            for (std::int64_t j = 0; j < i; ++j) s_.last_z[j] *= eta;
            s_.last_z[i] = c_.x.theta.row(head_, begin + i)[0];
            for (std::int64_t j = 0; j <= i; ++j) s_.last_w[j] = keep * s_.last_w[j] + s_.last_z[j];
            if (!before) give();
        }
        return all;
    }

    /// Rows from `from` on read the layer as it is after (or before) each token: y = b x W + f x Z − (G ⊙ x lᵀ) r.
    void read(const TitansHeadLayer& layer, const float* x, std::int64_t from, std::int64_t n, std::int64_t count,
              float* y) {
        const std::int64_t rows = n - from;
        const float *const l = layer.l + from * layer.rows, *const r = layer.r + from * layer.columns;
        multiply(x, layer, layer.w, rows, y);
        multiply(x, layer, layer.z, rows, s_.other);
        multiply_({.a = x,
                   .b = l,
                   .c = s_.pairs,
                   .m = rows,
                   .n = rows,
                   .k = layer.rows,
                   .a_stride = layer.rows,
                   .b_stride = layer.rows,
                   .c_stride = rows,
                   .b_transposed = true});
        weigh_token_pairs()({.pairs = s_.pairs, .weights = s_.mix, .stride = rows, .weights_stride = rows, .n = rows});
        for_rows(count, [&, product = sum_of_products()](std::int64_t i) {
            const std::int64_t at = i * layer.columns;
            const RowProduct both[] = {{.x = y + at, .factor = s_.kept[i]},
                                       {.x = s_.other + at, .factor = s_.moved[i]}};
            product(both, 2, y + at, layer.columns);
        });
        multiply_({.a = s_.pairs,
                   .b = r,
                   .c = y,
                   .m = rows,
                   .n = layer.columns,
                   .k = count,
                   .a_stride = rows,
                   .b_stride = layer.columns,
                   .c_stride = layer.columns,
                   .add = true,
                   .alpha = -1});
    }
    /// W and Z behind `count` tokens.
    void advance(const TitansHeadLayer& layer, std::int64_t from, std::int64_t count, const Mixing& all) {
        executor_.parallel_for(ceil_div(layer.rows, rows_of_task), [&](std::int64_t task, int) {
            const FlushToZero flush;
            const std::int64_t row = task * rows_of_task, rows = std::min(rows_of_task, layer.rows - row);
            titans_decay()({layer.w + row * layer.columns, layer.z + row * layer.columns, rows * layer.columns, all.b,
                            all.f, all.m});
        });
        for (const auto& [to, weights] : {std::pair{layer.w, s_.last_w}, {layer.z, s_.last_z}}) {
            scale_rows()({.x = layer.l + from * layer.rows,
                          .x_stride = layer.rows,
                          .y = s_.scaled,
                          .y_stride = layer.rows,
                          .rows = count,
                          .dim = layer.rows,
                          .factors = weights});
            multiply_({.a = s_.scaled,
                       .b = layer.r + from * layer.columns,
                       .c = to,
                       .m = layer.rows,
                       .n = layer.columns,
                       .k = count,
                       .a_stride = layer.rows,
                       .b_stride = layer.columns,
                       .c_stride = layer.columns,
                       .a_transposed = true,
                       .add = true,
                       .alpha = -1});
        }
    }
    void take_block(std::int64_t begin, std::int64_t n) {
        for (std::int64_t from = 0; from < n;) {
            const std::int64_t count = tokens_together(begin, from, n);
            const Mixing all = mix(begin + from, count, n - from);
            const float* const q = s_.q + from * c_.dim;
            if (c_.deep()) {
                read(first_, q, from, n, count, s_.read);
                activate(s_.read, n - from, s_.read, nullptr);
                read(second_, s_.read, from, n, count, s_.o);
                advance(second_, from, count, all);
            } else {
                read(first_, q, from, n, count, s_.o);
            }
            advance(first_, from, count, all);
            give(begin + from, count, q);
            from += count;
        }
    }
    void give(std::int64_t begin, std::int64_t n, const float* q) const {
        for_rows(n, [&, output = titans_output()](std::int64_t i) {
            output(c_.wrap(), s_.o + i * c_.dim_v, q + i * c_.dim, c_.o.row(head_, begin + i), c_.dim_v);
        });
    }

    /// A token by itself.
    void step(std::int64_t t) {
        const bool after = c_.options.read == TitansRead::after;
        float* const first = c_.deep() ? s_.read : s_.o;
        if (!after) multiply(s_.q, first_, first_.w, 1, first);
        step_layer(first_, t, after ? s_.q : nullptr, first);
        if (c_.deep()) {
            activate(first, 1, first, nullptr);
            if (!after) multiply(first, second_, second_.w, 1, s_.o);
            step_layer(second_, t, after ? first : nullptr, s_.o);
        }
        give(t, 1, s_.q);
    }
    void step_layer(const TitansHeadLayer& layer, std::int64_t t, const float* q, float* o) const {
        executor_.parallel_for(ceil_div(layer.columns, columns_of_task), [&](std::int64_t task, int) {
            const FlushToZero flush;
            const std::int64_t column = task * columns_of_task;
            titans_step()({.w = layer.w + column,
                           .z = layer.z + column,
                           .stride = layer.columns,
                           .rows = layer.rows,
                           .columns = std::min(columns_of_task, layer.columns - column),
                           .eta = c_.x.eta.row(head_, t)[0],
                           .theta = c_.x.theta.row(head_, t)[0],
                           .keep = 1 - c_.x.alpha.row(head_, t)[0],
                           .l = layer.l,
                           .r = layer.r + column,
                           .q = q,
                           .o = o + column});
        });
    }

    const TitansCall& c_;
    const std::int64_t head_;
    Executor& executor_;
    Arena arena_;
    TitansScratch s_;
    dense::Products multiply_;
    TitansHeadLayer first_, second_ = {};
};

/// What the caller calls the parts of the state.
struct TitansNames {
    const char *weights, *momentum;
};
inline TitansNames titans_names(bool two_layers, bool second) {
    if (!two_layers) return {"state", "momentum"};
    return second ? TitansNames{"state_w2", "momentum_w2"} : TitansNames{"state_w1", "momentum_w1"};
}

inline void check_titans_part(const char* f, const char* name, const LinearState& s, std::int64_t heads,
                              std::int64_t rows, std::int64_t columns) {
    const std::string is = std::string(name) + " is " + checks::shape(s.heads, s.dim, s.dim_v);
    if (s.snapshots) fail(f, std::string(name) + ".snapshots is set, needs none: states on the way are not kept");
    if (s.empty()) return;
    if (s.heads != heads || s.dim != rows || s.dim_v != columns)
        fail(f, is + ", needs " + checks::shape(heads, rows, columns));
    if (static_cast<std::int64_t>(s.matrix.size()) != heads * rows * columns)
        fail(f, std::string(name) + " has " + std::to_string(s.matrix.size()) + " elements, needs " +
                    std::to_string(heads * rows * columns));
}

inline void check_titans_state(const char* f, const TitansInputs& x, const TitansState& state) {
    const bool two = state.two_layers();
    const std::int64_t heads = x.k.heads, hidden = two ? state.second.weights.dim : x.v.dim;
    if (two && state.first.weights.empty()) fail(f, "state_w1 is empty, needs the weights of the first of two layers");
    if (!two && !state.second.momentum.empty()) fail(f, "momentum_w2 is given, needs state_w2");
    if (hidden < 1) fail(f, "state_w2 has " + std::to_string(hidden) + " hidden channels, needs at least 1");
    if (std::max(checks::elements(heads, x.k.dim, hidden), checks::elements(heads, hidden, x.v.dim)) >
        checks::most_elements)
        fail(f, "state is " + checks::shape(heads, x.k.dim, hidden) + ", memory does not hold as many elements");
    for (const bool second : {false, true}) {
        if (second && !two) break;
        const TitansLayer& layer = second ? state.second : state.first;
        const TitansNames names = titans_names(two, second);
        const std::int64_t rows = second ? hidden : x.k.dim, columns = second ? x.v.dim : hidden;
        check_titans_part(f, names.weights, layer.weights, heads, rows, columns);
        check_titans_part(f, names.momentum, layer.momentum, heads, rows, columns);
    }
}

inline void check_titans_options(const char* f, const TitansInputs& x, const TitansOptions& options) {
    checks::require_at_least(f, "chunk", options.chunk, 1);
    require_not_negative(f, "norm_eps", options.norm_eps);
    require_not_negative(f, "eps", options.eps);
    if (!is_finite(options.loss_scale))
        fail(f, "loss_scale is " + std::to_string(options.loss_scale) + ", needs a finite number");
    if (options.residual && x.k.dim != x.v.dim)
        fail(f, "residual is set, needs as many features of k, " + std::to_string(x.k.dim) + ", as of v, " +
                    std::to_string(x.v.dim));
}

inline void check_titans_numbers(const char* f, std::span<const Input> inputs, const TitansInputs& x,
                                 const TitansState& state) {
    check_numbers(f, inputs);
    constexpr float most = std::numeric_limits<float>::infinity();
    for (const auto& [gate, name, limit] :
         {std::tuple{&x.theta, "theta", most}, {&x.alpha, "alpha", 1.f}, {&x.eta, "eta", 1.f}})
        for (std::int64_t h = 0; h < gate->heads; ++h)
            for (std::int64_t t = 0; t < gate->tokens; ++t)
                if (const float g = gate->row(h, t)[0]; g < 0 || g > limit)
                    fail(f, std::string(name) + " is " + std::to_string(g) + " at " + checks::shape(h, t, 0) +
                                ", needs " + (limit > 1 ? "at least 0" : "0 to 1"));
    for (const TitansLayer* layer : {&state.first, &state.second}) {
        const TitansNames names = titans_names(state.two_layers(), layer == &state.second);
        for (const auto& [part, name] : {std::pair{&layer->weights, names.weights}, {&layer->momentum, names.momentum}})
            check_numbers(f, name, hnd(part->matrix.data(), 1, static_cast<std::int64_t>(part->matrix.size()), 1),
                          false);
    }
}

ATTENTA_INLINE void check_titans(const char* f, std::span<const Input> inputs, const TitansInputs& x, Heads<float> o,
                                 const TitansState& state, const TitansOptions& options) {
    check_memory(f, "o", o);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    for (const Input& in : inputs)
        if (in.given() && (in.view.heads < 1 || in.view.dim < 1 || (in.letters().tokens == "T" && in.view.tokens < 1)))
            fail(f, std::string(in.name) + " is " + checks::shape(in.view.heads, in.view.tokens, in.view.dim) +
                        ", needs sizes of at least 1");
    check_titans_options(f, x, options);
    check_titans_state(f, x, state);
    checks::check_output(f, x.q.heads, x.q.tokens, x.v.dim, o);
    checks::check_pointer(f, "o", o.data, sizeof(float), true);
    OutputMemory memory(f, inputs);
    memory.add("o", o);
    for (const TitansLayer* layer : {&state.first, &state.second}) {
        const TitansNames names = titans_names(state.two_layers(), layer == &state.second);
        for (const auto& [part, name] : {std::pair{&layer->weights, names.weights}, {&layer->momentum, names.momentum}})
            memory.add(name, hnd(part->matrix.data(), 1, 1, static_cast<std::int64_t>(part->matrix.size())));
    }
    if (options.check_data) check_titans_numbers(f, inputs, x, state);
}

ATTENTA_INLINE void run_titans(const TitansInputs& x, Heads<float> o, TitansState& state, const TitansOptions& options,
                               Context& context) {
    Executor& executor = context.executor();
    const TitansCall call(x, o, options, state);
    // Heads are shared among threads, or with few of them each head's products are.
    const std::int64_t threads = executor.concurrency(), heads = x.k.heads, teams = heads < threads ? 1 : threads,
                       members = threads / teams, products = dense::product_scratch_bytes();
    Arena arena(nullptr);
    TitansScratch(arena, call);
    const std::int64_t rows = round_up(arena.used(), 64), bytes = rows + members * products;
    std::byte* const scratch = context.workspace().reserve(static_cast<std::size_t>(teams * bytes));

    TitansLayer zeros;
    if (state.first.weights.empty()) zeros.weights = LinearState(heads, call.dim, call.dim_v);
    if (state.first.momentum.empty()) zeros.momentum = LinearState(heads, call.dim, call.first_width());
    if (call.deep() && state.second.momentum.empty())
        state.second.momentum = LinearState(heads, call.hidden, call.dim_v);
    if (!zeros.weights.empty()) state.first.weights = std::move(zeros.weights);
    if (!zeros.momentum.empty()) state.first.momentum = std::move(zeros.momentum);

    if (teams > 1 || threads == 1) {
        run_tasks(executor, heads, [&](std::int64_t head, int slot) {
            SerialExecutor serial;
            std::byte* const own = scratch + slot * bytes;
            TitansHead(call, head, serial, own, own + rows).run();
        });
    } else {
        const FlushToZero flush;
        for (std::int64_t head = 0; head < heads; ++head)
            TitansHead(call, head, executor, scratch, scratch + rows).run();
    }
}

}  // namespace detail

ATTENTA_INLINE void titans(const TitansInputs& x, Heads<float> o, TitansState& state, const TitansOptions& options,
                           Context& context) {
    detail::check_titans("titans", InputList(x), x, o, state, options);
    detail::run_titans(x, o, state, options, context);
}

ATTENTA_END
