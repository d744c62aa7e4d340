#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/core/saturating.hpp>
#include <attenta/linear/recurrent/chunk.hpp>
#include <attenta/linear/recurrent/log_linear.hpp>
#include <attenta/linear/recurrent/log_linear_kernels.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// A call. Tasks are heads and blocks of columns of their values.
struct LogLinearCall {
    static constexpr std::int64_t chunk_tokens = 64, few_heads = 16, few_columns = 64;

    const LogLinearInputs& x;
    Heads<float> o;
    std::int64_t position;
    float scale;
    std::int64_t heads, group, dim, dim_v, chunk, columns;

    LogLinearCall(const LogLinearInputs& inputs, Heads<float> out, const LogLinearOptions& options)
        : x(inputs),
          o(out),
          position(options.position),
          scale(options.scale),
          heads(std::max(inputs.k.heads, inputs.v.heads)),
          group(out.heads / heads),
          dim(inputs.k.dim),
          dim_v(inputs.v.dim),
          chunk(std::min(chunk_tokens, inputs.k.tokens)),
          columns(heads < few_heads ? std::min(few_columns, dim_v) : dim_v) {}

    const float* row(const Heads<const float>& y, std::int64_t head, std::int64_t t) const {
        return y.row(head / (heads / y.heads), t);
    }
};

/// A task's scratch.
struct LogLinearScratch {
    ChunkDecays decays;
    float *gates, *factors, *keys, *q, *weighted, *pairs, *o;
    std::byte* products;

    LogLinearScratch(Arena& arena, const LogLinearCall& call) : decays(arena, call.chunk) {
        const std::int64_t n = call.chunk, rows = call.group * n;
        gates = arena.take<float>(n);
        factors = arena.take<float>(n);
        keys = arena.take<float>(n * call.dim);
        q = arena.take<float>(rows * call.dim);
        weighted = arena.take<float>(rows * call.dim);
        pairs = arena.take<float>(rows * n);
        o = arena.take<float>(rows * call.columns);
        products = arena.take<std::byte>(dense::product_scratch_bytes());
    }
};

/// A head in a task, columns `column` .. of its values.
class LogLinearHead {
public:
    LogLinearHead(const LogLinearCall& call, std::int64_t head, std::int64_t column, LinearState& state,
                  std::byte* scratch)
        : c_(call),
          head_(head),
          column_(column),
          columns_(std::min(call.columns, call.dim_v - column)),
          state_(state),
          arena_(scratch),
          s_(arena_, call),
          multiply_(serial_, s_.products) {}

    /// Chunks end where positions are multiples of their length: earlier buckets are then the same for all their tokens.
    void run() {
        const std::int64_t tokens = c_.x.k.tokens;
        for (std::int64_t t = 0; t < tokens;) {
            const std::int64_t whole = LogLinearCall::chunk_tokens - (c_.position + t) % LogLinearCall::chunk_tokens,
                               n = std::min({whole, tokens - t, c_.chunk});
            if (n == 1)
                step(t);
            else
                take_chunk(t, n);
            t += n;
        }
    }

private:
    static int level(std::int64_t i, std::int64_t j) {
        return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(i ^ j)));
    }
    /// fn(level, first position of its bucket) of all buckets that precede a position.
    template <class F>
    static void for_buckets(std::int64_t position, F&& fn) {
        for (int l = 1; l < 64 && position >> (l - 1) != 0; ++l)
            if (position >> (l - 1) & 1)
                fn(l, position - position % (std::int64_t{1} << (l - 1)) - (std::int64_t{1} << (l - 1)));
    }
    float* state_of(int l) const { return state_.of(head_) + l * c_.dim * c_.dim_v + column_; }
    const float* values(std::int64_t t) const { return c_.row(c_.x.v, head_, t) + column_; }
    const float* weights(std::int64_t t) const { return c_.x.level_weight.row(head_, t); }

    void take_gates(std::int64_t begin, std::int64_t n) {
        for (std::int64_t t = 0; t < n; ++t) s_.gates[t] = c_.x.g.row(head_, begin + t)[0];
        chunk_decays()(s_.gates, n, s_.decays);
    }
    /// Queries of the group times the scale, [group · n, dim].
    void take_queries(std::int64_t begin, std::int64_t n) {
        for (std::int64_t i = 0; i < c_.group; ++i)
            scale_rows()({.x = c_.x.q.row((head_ * c_.group + i) / (c_.o.heads / c_.x.q.heads), begin),
                          .x_stride = c_.x.q.token_stride,
                          .y = s_.q + i * n * c_.dim,
                          .y_stride = c_.dim,
                          .rows = n,
                          .dim = c_.dim,
                          .factor = c_.scale});
    }
    /// q · keys of the chunk, [group · n, n].
    void multiply_pairs(std::int64_t begin, std::int64_t n) {
        multiply_({.a = s_.q,
                   .b = c_.row(c_.x.k, head_, begin),
                   .c = s_.pairs,
                   .m = c_.group * n,
                   .n = n,
                   .k = c_.dim,
                   .a_stride = c_.dim,
                   .b_stride = c_.x.k.token_stride,
                   .c_stride = n,
                   .b_transposed = true});
    }
    void give(std::int64_t begin, std::int64_t n, std::int64_t count) {
        for (std::int64_t i = 0; i < c_.group; ++i)
            for (std::int64_t t = 0; t < count; ++t)
                std::copy_n(s_.o + (i * n + t) * columns_, columns_,
                            c_.o.row(head_ * c_.group + i, begin + t) + column_);
    }

    /// n tokens, together as far as keys, values and gates are finite.
    void take_chunk(std::int64_t begin, std::int64_t n) {
        const auto head_of = [&](const Heads<const float>& y) { return head_ / (c_.heads / y.heads); };
        for (std::int64_t done = 0; done < n;) {
            const std::int64_t at = begin + done, left = n - done;
            std::int64_t count = gates_to_sum(c_.x.g, head_, at, left);
            for (const Heads<const float>& y : {c_.x.k, c_.x.v}) count = tokens_to_sum(y, head_of(y), at, count);
            read(at, left, count);
            advance(at, count);
            done += count;
        }
    }

    /// Rows of n tokens, of which `count` may be summed and are wanted.
    void read(std::int64_t begin, std::int64_t n, std::int64_t count) {
        const std::int64_t rows = c_.group * n, position = c_.position + begin;
        take_gates(begin, n);
        take_queries(begin, n);
        multiply_pairs(begin, n);
        for (std::int64_t t = 0; t < n; ++t) weigh_levels(begin, t);
        weigh_token_pairs()({.pairs = s_.pairs,
                             .weights = s_.decays.between,
                             .stride = n,
                             .weights_stride = s_.decays.stride,
                             .n = n,
                             .groups = c_.group});
        multiply_({.a = s_.pairs,
                   .b = values(begin),
                   .c = s_.o,
                   .m = rows,
                   .n = columns_,
                   .k = count,
                   .a_stride = n,
                   .b_stride = c_.x.v.token_stride,
                   .c_stride = columns_});
        for_buckets(position, [&](int l, std::int64_t start) {
            for (std::int64_t t = 0; t < n; ++t)
                s_.factors[t] = weights(begin + t)[level(position + t, start)] * s_.decays.from_start[t];
            for (std::int64_t i = 0; i < c_.group; ++i)
                scale_rows()({.x = s_.q + i * n * c_.dim,
                              .x_stride = c_.dim,
                              .y = s_.weighted + i * n * c_.dim,
                              .y_stride = c_.dim,
                              .rows = n,
                              .dim = c_.dim,
                              .factors = s_.factors});
            multiply_({.a = s_.weighted,
                       .b = state_of(l),
                       .c = s_.o,
                       .m = rows,
                       .n = columns_,
                       .k = c_.dim,
                       .a_stride = c_.dim,
                       .b_stride = c_.dim_v,
                       .c_stride = columns_,
                       .add = true});
        });
        give(begin, n, count);
    }
    /// Decays from the chunk's tokens to its token t get the weights of their levels.
    void weigh_levels(std::int64_t begin, std::int64_t t) {
        const std::int64_t position = c_.position + begin + t;
        const float* const weight = weights(begin + t);
        float* const row = s_.decays.between + t * s_.decays.stride;
        row[t] = weight[0];
        for (std::int64_t end = t; end > 0;) {
            const int l = level(position, position - t + end - 1);
            const std::int64_t start = std::max<std::int64_t>(end - (std::int64_t{1} << (l - 1)), 0);
            scale_rows()({.x = row + start, .y = row + start, .rows = 1, .dim = end - start, .factor = weight[l]});
            end = start;
        }
    }

    /// States move on to the levels that they have behind `count` tokens, and the tokens join them.
    void advance(std::int64_t begin, std::int64_t count) {
        const std::int64_t from = c_.position + begin, to = from + count;
        take_gates(begin, count);
        const float decay = s_.decays.from_start[count - 1];
        std::uint64_t filled = 0;
        for_buckets(from, [&](int l, std::int64_t start) {
            const int next = level(to, start);
            scale_rows()({.x = state_of(l),
                          .x_stride = c_.dim_v,
                          .y = state_of(next),
                          .y_stride = c_.dim_v,
                          .rows = c_.dim,
                          .dim = columns_,
                          .factor = decay,
                          .add = next != l && holds(filled, next)});
            filled |= std::uint64_t{1} << next;
        });
        scale_rows()({.x = c_.row(c_.x.k, head_, begin),
                      .x_stride = c_.x.k.token_stride,
                      .y = s_.keys,
                      .y_stride = c_.dim,
                      .rows = count,
                      .dim = c_.dim,
                      .factors = s_.decays.to_end});
        for (std::int64_t t = 0; t < count;) {
            const int next = level(to, from + t);
            std::int64_t n = 1;
            while (t + n < count && level(to, from + t + n) == next) ++n;
            multiply_({.a = s_.keys + t * c_.dim,
                       .b = values(begin + t),
                       .c = state_of(next),
                       .m = c_.dim,
                       .n = columns_,
                       .k = n,
                       .a_stride = c_.dim,
                       .b_stride = c_.x.v.token_stride,
                       .c_stride = c_.dim_v,
                       .a_transposed = true,
                       .add = holds(filled, next)});
            filled |= std::uint64_t{1} << next;
            t += n;
        }
        clear_unused(from, filled);
    }
    static bool holds(std::uint64_t levels, int l) { return levels >> l & 1; }
    void clear_unused(std::int64_t from, std::uint64_t filled) {
        for_buckets(from, [&](int l, std::int64_t) {
            if (holds(filled, l)) return;
            for (std::int64_t d = 0; d < c_.dim; ++d) std::fill_n(state_of(l) + d * c_.dim_v, columns_, 0.f);
        });
    }

    /// A token by itself: each state is read on its way to its new level.
    void step(std::int64_t t) {
        const std::int64_t position = c_.position + t;
        const float* const weight = weights(t);
        take_gates(t, 1);
        take_queries(t, 1);
        multiply_pairs(t, 1);
        std::fill_n(s_.o, c_.group * columns_, 0.f);
        std::uint64_t filled = 0;
        for_buckets(position, [&](int l, std::int64_t start) {
            const int next = level(position + 1, start);
            scale_rows()({.x = s_.q,
                          .x_stride = c_.dim,
                          .y = s_.weighted,
                          .y_stride = c_.dim,
                          .rows = c_.group,
                          .dim = c_.dim,
                          .factor = weight[l]});
            log_linear_level()({.from = state_of(l),
                                .to = state_of(next),
                                .stride = c_.dim_v,
                                .dim = c_.dim,
                                .columns = columns_,
                                .group = c_.group,
                                .decay = s_.decays.from_start[0],
                                .add = next != l && holds(filled, next),
                                .q = s_.weighted,
                                .o = s_.o});
            filled |= std::uint64_t{1} << next;
        });
        scale_rows()({.x = values(t),
                      .y = s_.o,
                      .y_stride = columns_,
                      .rows = c_.group,
                      .dim = columns_,
                      .factors = s_.pairs,
                      .factor = weight[0],
                      .add = true});
        const int own = level(position + 1, position);
        scale_rows()({.x = values(t),
                      .y = state_of(own),
                      .y_stride = c_.dim_v,
                      .rows = c_.dim,
                      .dim = columns_,
                      .factors = c_.row(c_.x.k, head_, t),
                      .add = holds(filled, own)});
        clear_unused(position, filled | std::uint64_t{1} << own);
        give(t, 1, 1);
    }

    const LogLinearCall& c_;
    const std::int64_t head_, column_, columns_;
    LinearState& state_;
    Arena arena_;
    LogLinearScratch s_;
    SerialExecutor serial_;
    dense::Products multiply_;
};

inline void check_log_linear(const LogLinearInputs& x, const LogLinearOptions& options) {
    const char* f = "log_linear";
    const std::int64_t most = std::numeric_limits<std::int64_t>::max() - x.k.tokens;
    if (options.position < 0 || options.position > most)
        fail(f, "position is " + std::to_string(options.position) + ", needs 0 to " + std::to_string(most));
    const std::int64_t last = options.position + x.k.tokens - 1,
                       levels = 1 + static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(last)));
    if (x.level_weight.dim < levels)
        fail(f, "level_weight has " + std::to_string(x.level_weight.dim) + " levels, needs at least " +
                    std::to_string(levels) + " up to position " + std::to_string(last));
    if (!options.check_data) return;
    for (std::int64_t h = 0; h < x.level_weight.heads; ++h)
        for (std::int64_t t = 0; t < x.level_weight.tokens; ++t)
            for (std::int64_t l = 0; l < x.level_weight.dim; ++l)
                if (x.level_weight.row(h, t)[l] < 0)
                    fail(f, "level_weight is " + std::to_string(x.level_weight.row(h, t)[l]) + " at [" +
                                std::to_string(h) + ", " + std::to_string(t) + ", " + std::to_string(l) +
                                "], needs at least 0");
}

}  // namespace detail

ATTENTA_INLINE void log_linear(const LogLinearInputs& x, Heads<float> o, LinearState& state,
                               const LogLinearOptions& options, Context& context) {
    scan::Request r{.function = "log_linear", .q = x.q, .k = x.k, .v = x.v, .g = x.g};
    r.scale = options.scale;
    r.features = saturating::multiply(saturating::add(x.level_weight.dim, 1), x.k.dim);
    scan::check(r, InputList(x), o, state, options.check_data);
    detail::check_log_linear(x, options);

    const detail::LogLinearCall call(x, o, options);
    Arena arena(nullptr);
    detail::LogLinearScratch(arena, call);
    const std::int64_t bytes = round_up(arena.used(), 64), blocks = ceil_div(call.dim_v, call.columns);
    std::byte* const scratch =
        context.workspace().reserve(static_cast<std::size_t>(bytes * context.executor().concurrency()));
    scan::begin_state(r, state);
    run_tasks(context.executor(), call.heads * blocks, [&](std::int64_t i, int slot) {
        detail::LogLinearHead(call, i / blocks, i % blocks * call.columns, state, scratch + slot * bytes).run();
    });
}

ATTENTA_END
