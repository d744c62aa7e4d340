#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/decay/lightning.hpp>

#include <algorithm>
#include <bit>
#include <cmath>

ATTENTA_BEGIN

namespace detail {

inline void fill_lightning_decay(std::int64_t heads, const LightningOptions& o, float* g) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    if (heads < 1) fail("lightning", "heads is " + text(heads) + ", needs at least 1");
    const bool geometric = o.slopes == LightningSlopes::geometric;
    if (o.num_layers && geometric && *o.num_layers < 2)
        fail("lightning", "num_layers is " + text(*o.num_layers) + ", geometric slopes need at least 2");
    if (o.layer < 0 || (o.num_layers && o.layer >= *o.num_layers))
        fail("lightning", "layer is " + text(o.layer) + ", needs 0 .. num_layers - 1 (num_layers = " +
                              (o.num_layers ? text(*o.num_layers) : std::string("null")) + ")");
    const auto count = static_cast<double>(heads), layer = static_cast<double>(o.layer);
    double factor = 1;
    if (o.num_layers && geometric) factor = 1 - layer / (static_cast<double>(*o.num_layers) - 1) + 1e-5;
    if (o.num_layers && !geometric) factor = 1 - layer / static_cast<double>(*o.num_layers);
    // Heads that are no power of two take the slopes of the one below, then every second one of the one above.
    const auto power = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(heads)));
    for (std::int64_t h = 0; h < heads; ++h) {
        const auto n = static_cast<double>(h < power ? h + 1 : 2 * (h - power) + 1);
        const double of = static_cast<double>(h < power ? power : 2 * power);
        const double slope = geometric ? std::exp2(-8 * n / of) : 8 * static_cast<double>(h) / count;
        g[h] = static_cast<float>(-slope * factor);
    }
}

}  // namespace detail

ATTENTA_INLINE std::vector<float> lightning_decay(std::int64_t heads, const LightningOptions& options) {
    std::vector<float> g(static_cast<std::size_t>(std::max<std::int64_t>(0, heads)));
    detail::fill_lightning_decay(heads, options, g.data());
    return g;
}

ATTENTA_INLINE void lightning(const LightningInputs& x, Heads<float> o, LinearState& state,
                              const LightningOptions& options, Context& context) {
    scan::Request r{.function = "lightning", .q = x.q, .k = x.k, .v = x.v, .g = x.g};
    r.state_heads = detail::heads_with_decays(r);
    r.keeps_states = true;
    r.scale = options.scale;
    scan::check(r, InputList(x), o, state, options.check_data);
    const detail::InlineArray<float, 128> decay(x.g.data ? 0 : r.state_heads);
    if (!x.g.data) {
        detail::fill_lightning_decay(r.state_heads, options, decay.data());
        r.g = hnd(static_cast<const float*>(decay.data()), r.state_heads, 1, 1);
    }
    scan::run(r, o, state, context);
}

ATTENTA_END
