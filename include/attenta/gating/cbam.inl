#pragma once

#include <attenta/engine/dense/convolve.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/dense/layers.hpp>
#include <attenta/gating/cbam.hpp>
#include <attenta/gating/kernels.hpp>

#include <algorithm>
#include <cmath>
#include <string>

ATTENTA_BEGIN

namespace detail {

inline void check_spatial_gate(const CbamInputs& x, const MapCheck& check) {
    if (!x.w_s.data) check.refuse("w_s is null, spatial needs a kernel [1, 2, n·n]");
    if (x.w_s.heads != 1 || x.w_s.tokens != 2)
        check.refuse("w_s has " + checks::text(x.w_s.heads) + " x " + checks::text(x.w_s.tokens) +
                     " channels, needs 1 x 2");
    check.taps("w_s", x.w_s.dim);
    const bool any = x.norm.data() || x.norm_b.data() || x.norm_mean.data() || x.norm_var.data(),
               all = x.norm.data() && x.norm_b.data() && x.norm_mean.data() && x.norm_var.data();
    if (any && !all) check.refuse("norm, norm_b, norm_mean and norm_var are given in part, needs all of them or none");
    check.variances("norm_var", x.norm_var);
}

inline void check_cbam(const CbamInputs& x, const CbamOutputs& out, const CbamOptions& options) {
    MapCheck check("cbam", InputList(x));
    if (!options.mean && !options.max && !options.log_sum_exp)
        check.refuse("mean, max and log_sum_exp are off, needs at least one pool");
    check.epsilon("eps", options.eps);
    if (options.spatial)
        check_spatial_gate(x, check);
    else if (x.w_s.data)
        check.refuse("w_s is given, without spatial it needs to be null");
    check.numbers(options.check_data);
    check.map("o", out.o, x.x);
    check.output("channel_gate", out.channel_gate, 1, 1, x.x.heads);
    check.output("spatial_gate", options.spatial ? out.spatial_gate : nullptr, 1, x.x.tokens, x.x.dim);
}

/// The pools that are wanted, [pools, C].
inline Matrices<float> pooled_channels(Heads<const float> x, const CbamOptions& options, CallArrays& arrays,
                                       Context& context) {
    const std::int64_t pools = options.mean + options.max + options.log_sum_exp;
    const Matrices<float> pooled{arrays.take(pools * x.heads), 1, pools, x.heads};
    const dense::MapRuns runs = dense::runs_of(x);
    context.executor().parallel_for(x.heads, [&](std::int64_t c, int) {
        const gating::Pooled p =
            gating::pool_runs()({x.row(c, 0), runs.count, runs.length, x.token_stride}, options.log_sum_exp);
        std::int64_t row = 0;
        if (options.mean) pooled.row(0, row++)[c] = p.mean;
        if (options.max) pooled.row(0, row++)[c] = p.max;
        if (options.log_sum_exp) pooled.row(0, row)[c] = p.log_sum_exp;
    });
    return pooled;
}

/// σ(Σ of the pools' vectors behind the bottleneck), [C].
inline void channel_gate(const CbamInputs& x, Matrices<const float> pooled, float* gate, CallArrays& arrays,
                         Context& context) {
    const std::int64_t pools = pooled.rows, channels = pooled.cols, hidden = x.w_1.rows;
    const Matrices<float> inner{arrays.take(pools * hidden), 1, pools, hidden},
        raw{arrays.take(pools * channels), 1, pools, channels}, ones{arrays.take(pools), 1, 1, pools};
    dense::layer(pooled, x.w_1, true, {x.b_1.data()}, dense::Activation::relu, inner, context);
    dense::layer(dense::read(inner), x.w_2, true, {x.b_2.data()}, dense::Activation::none, raw, context);
    std::fill_n(ones.data, pools, 1.f);
    dense::layer(dense::read(ones), dense::read(raw), false, {}, dense::Activation::sigmoid, {gate, 1, 1, channels},
                 context);
}

/// The largest and the mean gated channel at each position, with room for the taps around them.
inline dense::PaddedMap pooled_positions(Heads<const float> x, const float* gate, std::int64_t margin,
                                         CallArrays& arrays, Context& context) {
    constexpr std::int64_t most = 1024;  // positions of a task: their sums stay in L1
    const Heads<float> pooled = arrays.heads(2, x.tokens, x.dim);
    const dense::MapRuns runs = dense::runs_of(x);
    for_rows(context, runs.count, runs.length, most, [&](std::int64_t run, std::int64_t begin, std::int64_t end) {
        gating::pool_channels()({x.row(0, run) + begin, x.head_stride, x.heads, end - begin, gate,
                                 pooled.row(0, run) + begin, pooled.row(1, run) + begin});
    });
    return dense::padded_map(pooled, margin, arrays, context);
}

}  // namespace detail

ATTENTA_INLINE void cbam(const CbamInputs& x, const CbamOutputs& out, const CbamOptions& options, Context& context) {
    detail::check_cbam(x, out, options);
    detail::CallArrays arrays(context);
    float* const gate = out.channel_gate ? out.channel_gate : arrays.take(x.x.heads);
    detail::channel_gate(x, dense::read(detail::pooled_channels(x.x, options, arrays, context)), gate, arrays, context);
    if (!options.spatial) return detail::apply_gate(x.x, {.channels = gate}, out.o, context);

    const std::int64_t margin = detail::margin_of(x.w_s.dim), rows = x.x.tokens, columns = x.x.dim;
    const dense::PaddedMap pooled = detail::pooled_positions(x.x, gate, margin, arrays, context);
    float* const spatial = out.spatial_gate ? out.spatial_gate : arrays.take(rows * columns);
    dense::ConvolutionFinish finish{.sigmoid = true};
    float scale = 1, bias = 0;
    if (x.norm.data()) {
        scale = x.norm[0] / std::sqrt(x.norm_var[0] + options.eps);
        bias = x.norm_b[0] - x.norm_mean[0] * scale;
        finish.scale = &scale, finish.bias = &bias;
    }
    dense::convolve(pooled, x.w_s, hnd(spatial, 1, rows, columns), finish, context);
    detail::apply_gate(x.x, {.channels = gate, .positions = spatial}, out.o, context);
}

ATTENTA_END
