#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/tuning.hpp>
#include <attenta/linear/recurrent/chunk.hpp>
#include <attenta/linear/recurrent/mesa.hpp>
#include <attenta/linear/recurrent/mesa_kernels.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// A call. `chunk` tokens go together; with one, a token's own key is in R and S before it is read.
struct MesaCall {
    static constexpr std::int64_t chunk_tokens = 32;

    const MesaInputs& x;
    Heads<float> o;
    std::int64_t heads, group, dim, dim_v, chunk;

    MesaCall(const MesaInputs& inputs, Heads<float> out, std::int64_t state_heads)
        : x(inputs),
          o(out),
          heads(state_heads),
          group(out.heads / state_heads),
          dim(inputs.k.dim),
          dim_v(inputs.v.dim),
          chunk(inputs.k.tokens <= scan::few_tokens ? 1 : std::min(chunk_tokens, inputs.k.tokens)) {}

    std::int64_t state_floats() const { return dim * (dim + dim_v); }
    const float* row(const Heads<const float>& y, std::int64_t head, std::int64_t t) const {
        return y.row(head / (heads / y.heads), t);
    }
};

/// R and S of a head.
struct MesaState {
    float *keys, *values;
};

/// A task's scratch.
struct MesaScratch {
    ChunkDecays decays;
    float *gates, *beta, *factors, *keys, *diagonal, *inverse, *pairs, *o, *size, *unit, *limit, *x, *residual,
        *direction, *product;
    std::byte* products;

    MesaScratch(Arena& arena, const MesaCall& call) : decays(arena, call.chunk) {
        const std::int64_t n = call.chunk, rows = call.group * n;
        for (float** array : {&gates, &beta, &factors}) *array = arena.take<float>(n);
        for (float** array : {&keys, &inverse}) *array = arena.take<float>(n * call.dim);
        for (float** array : {&size, &unit, &limit}) *array = arena.take<float>(rows);
        for (float** array : {&x, &residual, &direction, &product}) *array = arena.take<float>(rows * call.dim);
        diagonal = arena.take<float>(call.dim);
        pairs = arena.take<float>(rows * n);
        o = arena.take<float>(rows * call.dim_v);
        products = arena.take<std::byte>(dense::product_scratch_bytes());
    }
    static std::int64_t bytes(const MesaCall& call) {
        Arena arena(nullptr);
        MesaScratch(arena, call);
        return round_up(arena.used(), 64);
    }
};

/// A head in a task: chunks of tokens, which advance R and S or read them.
class MesaHead {
public:
    MesaHead(const MesaCall& call, std::int64_t head, MesaState state, std::byte* scratch)
        : c_(call), head_(head), state_(state), arena_(scratch), s_(arena_, call), multiply_(serial_, s_.products) {}

    /// R and S move on by n tokens.
    void advance(std::int64_t begin, std::int64_t n) {
        take_gates(begin, n);
        for (std::int64_t t = 0; t < n; ++t) s_.factors[t] = s_.decays.to_end[t] * s_.beta[t];
        scale_rows()({.x = c_.row(c_.x.k, head_, begin),
                      .x_stride = c_.x.k.token_stride,
                      .y = s_.keys,
                      .y_stride = c_.dim,
                      .rows = n,
                      .dim = c_.dim,
                      .factors = s_.factors});
        add(c_.x.k, begin, n, state_.keys);
        add(c_.x.v, begin, n, state_.values);
    }
    /// Queries of n tokens read the state in front of them and their own keys.
    void read(std::int64_t begin, std::int64_t n) {
        for (std::int64_t done = 0; done < n;) {
            const std::int64_t left = n - done, count = tokens_together(begin + done, left);
            read_rows(begin + done, left, count);
            done += count;
            if (done < n) advance(begin + done - count, count);
        }
    }
    /// A token by itself: the state takes it up and is read.
    void step(std::int64_t t) {
        for (std::int64_t d = 0; d < c_.dim; ++d) s_.diagonal[d] = state_.keys[d * c_.dim + d];
        take_gates(t, 1);
        take_diagonals(t, 1);
        advance(t, 1);
        s_.decays.from_start[0] = 1.f;
        solve(t, 1, 0);
        give(t, 1, 1, 0);
    }

private:
    void take_gates(std::int64_t begin, std::int64_t n) {
        for (std::int64_t t = 0; t < n; ++t) {
            s_.gates[t] = c_.x.g.row(head_, begin + t)[0];
            s_.beta[t] = c_.x.beta.row(head_, begin + t)[0];
        }
        chunk_decays()(s_.gates, n, s_.decays);
    }
    /// Up to the first key, value or gate that is not finite.
    std::int64_t tokens_together(std::int64_t begin, std::int64_t n) const {
        const auto head_of = [&](const Heads<const float>& y) { return head_ / (c_.heads / y.heads); };
        n = gates_to_sum(c_.x.g, head_, begin, n);
        for (const Heads<const float>& y : {c_.x.beta, c_.x.k, c_.x.v}) n = tokens_to_sum(y, head_of(y), begin, n);
        return n;
    }
    /// to = decay · to + keysᵀ y
    void add(const Heads<const float>& y, std::int64_t begin, std::int64_t n, float* to) {
        scale_rows()({.x = to, .y = to, .rows = 1, .dim = c_.dim * y.dim, .factor = s_.decays.from_start[n - 1]});
        multiply_({.a = s_.keys,
                   .b = c_.row(y, head_, begin),
                   .c = to,
                   .m = c_.dim,
                   .n = y.dim,
                   .k = n,
                   .a_stride = c_.dim,
                   .b_stride = y.token_stride,
                   .c_stride = y.dim,
                   .a_transposed = true,
                   .add = true});
    }
    void take_diagonals(std::int64_t begin, std::int64_t n) {
        mesa_diagonals()({.diagonal = s_.diagonal,
                          .inverse = s_.inverse,
                          .k = c_.row(c_.x.k, head_, begin),
                          .ridge = ridge(),
                          .decay = s_.gates,
                          .beta = s_.beta,
                          .k_stride = c_.x.k.token_stride,
                          .n = n,
                          .dim = c_.dim});
    }
    const float* ridge() const { return c_.x.ridge.row(head_, 0); }

    /// Rows of n tokens, of which `count` may be summed and are wanted.
    void read_rows(std::int64_t begin, std::int64_t n, std::int64_t count) {
        for (std::int64_t d = 0; d < c_.dim; ++d) s_.diagonal[d] = state_.keys[d * c_.dim + d];
        take_gates(begin, n);
        take_diagonals(begin, n);
        for (std::int64_t t = 0; t < n; ++t)
            for (std::int64_t u = 0; u <= t; ++u) s_.decays.between[t * s_.decays.stride + u] *= s_.beta[u];
        solve(begin, n, count);
        give(begin, n, count, count);
    }

    MesaSystems systems(std::int64_t n) const {
        return {.x = s_.x,
                .residual = s_.residual,
                .direction = s_.direction,
                .product = s_.product,
                .ridge = ridge(),
                .inverse = s_.inverse,
                .decay = s_.decays.from_start,
                .size = s_.size,
                .unit = s_.unit,
                .limit = s_.limit,
                .rows = c_.group * n,
                .dim = c_.dim,
                .tokens = n};
    }
    /// x of all rows, with the first `count` keys of the chunk beside R.
    void solve(std::int64_t begin, std::int64_t n, std::int64_t count) {
        for (std::int64_t i = 0; i < c_.group; ++i) {
            const std::int64_t head = (head_ * c_.group + i) / (c_.o.heads / c_.x.q.heads);
            for (std::int64_t t = 0; t < n; ++t)
                std::copy_n(c_.x.q.row(head, begin + t), c_.dim, s_.residual + (i * n + t) * c_.dim);
        }
        const MesaSystems all = systems(n);
        const MesaStep next = mesa_step();
        mesa_begin()(all);
        const std::int64_t most = 6 * c_.dim + chunk_rest;
        for (std::int64_t i = 0, left = all.rows; i < most && left > 0; ++i) {
            multiply_({.a = s_.direction,
                       .b = state_.keys,
                       .c = s_.product,
                       .m = all.rows,
                       .n = c_.dim,
                       .k = c_.dim,
                       .a_stride = c_.dim,
                       .b_stride = c_.dim,
                       .c_stride = c_.dim});
            mesa_regularize()(all);
            add_pairs(s_.direction, c_.x.k, begin, n, count, s_.product);
            left = next(all);
        }
    }
    /// y += ((rows · keysᵀ) ⊙ decays ⊙ β) z of the chunk's first `count` tokens.
    void add_pairs(const float* rows, const Heads<const float>& z, std::int64_t begin, std::int64_t n,
                   std::int64_t count, float* y) {
        if (count == 0) return;
        const std::int64_t m = c_.group * n;
        multiply_({.a = rows,
                   .b = c_.row(c_.x.k, head_, begin),
                   .c = s_.pairs,
                   .m = m,
                   .n = n,
                   .k = c_.dim,
                   .a_stride = c_.dim,
                   .b_stride = c_.x.k.token_stride,
                   .c_stride = n,
                   .b_transposed = true});
        weigh_token_pairs()({.pairs = s_.pairs,
                             .weights = s_.decays.between,
                             .stride = n,
                             .weights_stride = s_.decays.stride,
                             .n = n,
                             .groups = c_.group});
        multiply_({.a = s_.pairs,
                   .b = c_.row(z, head_, begin),
                   .c = y,
                   .m = m,
                   .n = z.dim,
                   .k = count,
                   .a_stride = n,
                   .b_stride = z.token_stride,
                   .c_stride = z.dim,
                   .add = true});
    }
    /// Sᵀ x of the first `count` tokens, `keys` of which are beside S.
    void give(std::int64_t begin, std::int64_t n, std::int64_t count, std::int64_t keys) {
        const std::int64_t rows = c_.group * n;
        scale_rows()({.x = s_.x,
                      .x_stride = c_.dim,
                      .y = s_.x,
                      .y_stride = c_.dim,
                      .rows = rows,
                      .dim = c_.dim,
                      .factors = s_.unit});
        multiply_({.a = s_.x,
                   .b = state_.values,
                   .c = s_.o,
                   .m = rows,
                   .n = c_.dim_v,
                   .k = c_.dim,
                   .a_stride = c_.dim,
                   .b_stride = c_.dim_v,
                   .c_stride = c_.dim_v});
        for (std::int64_t i = 0; i < c_.group; ++i)
            scale_rows()({.x = s_.o + i * n * c_.dim_v,
                          .x_stride = c_.dim_v,
                          .y = s_.o + i * n * c_.dim_v,
                          .y_stride = c_.dim_v,
                          .rows = n,
                          .dim = c_.dim_v,
                          .factors = s_.decays.from_start});
        add_pairs(s_.x, c_.x.v, begin, n, keys, s_.o);
        for (std::int64_t i = 0; i < c_.group; ++i)
            for (std::int64_t t = 0; t < count; ++t)
                std::copy_n(s_.o + (i * n + t) * c_.dim_v, c_.dim_v, c_.o.row(head_ * c_.group + i, begin + t));
    }

    static constexpr std::int64_t chunk_rest = 32;  ///< steps beyond 6 D, for small D

    const MesaCall& c_;
    const std::int64_t head_;
    MesaState state_;
    Arena arena_;
    MesaScratch s_;
    SerialExecutor serial_;
    dense::Products multiply_;
};

/// Chunks in rounds: heads move on through a round's chunks, leaving the state in front of each; then all chunks are read
/// side by side.
class MesaRounds {
public:
    MesaRounds(const MesaCall& call, Context& context)
        : c_(call),
          executor_(context.executor()),
          bytes_(MesaScratch::bytes(call)),
          chunks_(call.chunk > 1 ? ceil_div(call.x.k.tokens, call.chunk) : 0),
          round_(std::clamp(most_floats / (call.heads * call.state_floats()), std::int64_t{1},
                            std::clamp(chunks_, std::int64_t{1}, most_chunks))) {
        const std::int64_t kept = chunks_ > 0 ? round_ * call.heads * call.state_floats() : 0,
                           kept_bytes = round_up(kept * static_cast<std::int64_t>(sizeof(float)), 64);
        scratch_ = context.workspace().reserve(static_cast<std::size_t>(kept_bytes + bytes_ * executor_.concurrency()));
        starts_ = reinterpret_cast<float*>(scratch_);
        scratch_ += kept_bytes;
    }

    void run(LinearState& state) {
        const std::int64_t keys = c_.dim * c_.dim;
        const auto state_of = [&](std::int64_t h) {
            return MesaState{state.normalizer.data() + h * keys, state.of(h)};
        };
        if (chunks_ == 0)
            run_tasks(executor_, c_.heads, [&](std::int64_t h, int slot) {
                MesaHead head(c_, h, state_of(h), scratch_ + slot * bytes_);
                for (std::int64_t t = 0; t < c_.x.k.tokens; ++t) head.step(t);
            });
        for (std::int64_t first = 0; first < chunks_; first += round_) {
            const std::int64_t count = std::min(round_, chunks_ - first);
            run_tasks(executor_, c_.heads, [&](std::int64_t h, int slot) {
                MesaHead head(c_, h, state_of(h), scratch_ + slot * bytes_);
                for (std::int64_t i = 0; i < count; ++i) {
                    const MesaState start = start_of(h, i), now = state_of(h);
                    std::copy_n(now.keys, keys, start.keys);
                    std::copy_n(now.values, c_.dim * c_.dim_v, start.values);
                    head.advance(begin(first + i), tokens(first + i));
                }
            });
            run_tasks(executor_, c_.heads * count, [&](std::int64_t task, int slot) {
                const std::int64_t h = task / count, i = task % count;
                MesaHead(c_, h, start_of(h, i), scratch_ + slot * bytes_).read(begin(first + i), tokens(first + i));
            });
        }
    }

private:
    static constexpr std::int64_t most_chunks = 8, most_floats = std::int64_t{1} << 24;

    std::int64_t begin(std::int64_t chunk) const { return chunk * c_.chunk; }
    std::int64_t tokens(std::int64_t chunk) const { return std::min(c_.chunk, c_.x.k.tokens - begin(chunk)); }
    MesaState start_of(std::int64_t head, std::int64_t i) const {
        float* const keys = starts_ + (head * round_ + i) * c_.state_floats();
        return {keys, keys + c_.dim * c_.dim};
    }

    const MesaCall& c_;
    Executor& executor_;
    const std::int64_t bytes_, chunks_, round_;
    std::byte* scratch_;
    float* starts_;
};

inline void check_mesa(const MesaInputs& x, const LinearState& state, std::int64_t heads, bool check_data) {
    const char* f = "mesa";
    if (checks::elements(heads, x.k.dim, x.k.dim) > checks::most_elements)
        fail(f, "k has " + std::to_string(x.k.dim) + " features, memory does not hold their products");
    if (!state.empty() && static_cast<std::int64_t>(state.normalizer.size()) != heads * x.k.dim * x.k.dim)
        fail(f, "state.normalizer has " + std::to_string(state.normalizer.size()) + " elements, needs " +
                    std::to_string(heads * x.k.dim * x.k.dim));
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t d = 0; d < x.ridge.dim; ++d)
            if (x.ridge.row(h, 0)[d] <= 0)
                fail(f, "ridge is " + std::to_string(x.ridge.row(h, 0)[d]) + " at " + checks::shape(h, 0, d) +
                            ", needs a number > 0");
    if (!check_data) return;
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t t = 0; t < x.beta.tokens; ++t)
            if (x.beta.row(h, t)[0] < 0)
                fail(f, "beta is " + std::to_string(x.beta.row(h, t)[0]) + " at " + checks::shape(h, t, 0) +
                            ", needs at least 0");
}

}  // namespace detail

ATTENTA_INLINE void mesa(const MesaInputs& x, Heads<float> o, LinearState& state, const MesaOptions& options,
                         Context& context) {
    const scan::Request r{.function = "mesa", .q = x.q, .k = x.k, .v = x.v, .g = x.g, .beta = x.beta};
    scan::check(r, InputList(x), o, state, options.check_data);
    const std::int64_t heads = std::max(x.k.heads, x.v.heads);
    detail::check_mesa(x, state, heads, options.check_data);

    const detail::MesaCall call(x, o, heads);
    detail::MesaRounds rounds(call, context);
    if (state.empty()) {
        std::vector<float> zeros(static_cast<std::size_t>(heads * x.k.dim * x.k.dim));
        scan::begin_state(r, state);
        state.normalizer.swap(zeros);
    }
    rounds.run(state);
}

ATTENTA_END
