#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/features/injective.hpp>
#include <attenta/linear/features/row_sums.hpp>

#include <algorithm>

ATTENTA_BEGIN

namespace detail {

inline void check_injective(const InjectiveInputs& x, const InjectiveOptions& options) {
    const char* f = "injective";
    const auto text = [](auto n) { return std::to_string(n); };
    if (!is_finite(options.temperature)) fail(f, "temperature is " + text(options.temperature) + ", needs a number");
    if (options.scale && !is_finite(*options.scale))
        fail(f, "scale is " + text(*options.scale) + ", needs a finite number");
    if (options.prefix < 0) fail(f, "prefix is " + text(options.prefix) + ", needs at least 0");
    require_grouped_queries(f, x.q.heads, x.k.heads, x.v.heads);
    if (!x.local_weight.data) return;
    if (x.local_weight.tokens != 9)
        fail(f, "local_weight has " + text(x.local_weight.tokens) + " weights of a filter, needs 9");
    if (options.grid_height < 1 || options.grid_width < 1)
        fail(f, "grid_height and grid_width are " + text(options.grid_height) + " and " + text(options.grid_width) +
                    ", need at least 1");
    const std::int64_t tokens =
        saturating::add(options.prefix, saturating::multiply(options.grid_height, options.grid_width));
    if (tokens != x.k.tokens)
        fail(f, "prefix + grid_height · grid_width is " + text(tokens) + ", needs the " + text(x.k.tokens) +
                    " tokens of k");
    if (x.q.tokens != x.k.tokens)
        fail(f, "q has " + text(x.q.tokens) + " tokens, local_weight needs the " + text(x.k.tokens) + " of k");
}

/// o of a row of the grid += the values around each token times the weights.
inline void add_local(const InjectiveInputs& x, const InjectiveOptions& options, Heads<float> o, std::int64_t head,
                      std::int64_t row) {
    const std::int64_t height = options.grid_height, width = options.grid_width,
                       of_values = head / (x.q.heads / x.v.heads);
    for (std::int64_t column = 0; column < width; ++column) {
        float* const to = o.row(head, options.prefix + row * width + column);
        RowProduct products[10] = {{to}};
        std::int64_t count = 1;
        for (std::int64_t tap = 0; tap < 9; ++tap) {
            const std::int64_t r = row + tap / 3 - 1, c = column + tap % 3 - 1;
            if (r < 0 || r >= height || c < 0 || c >= width) continue;
            products[count++] = {x.v.row(of_values, options.prefix + r * width + c), x.local_weight.row(head, tap)};
        }
        sum_of_products()(products, count, to, o.dim);
    }
}

}  // namespace detail

ATTENTA_INLINE void injective(const InjectiveInputs& x, Heads<float> o, LinearState& state,
                              const InjectiveOptions& options, Context& context) {
    scan::Request r{.function = "injective", .q = x.q, .k = x.k, .v = x.v};
    check_memory("injective", "k", x.k);  // one more than its features is to be counted
    r.features = x.k.dim + 1;
    r.causal = false;
    r.lengths_differ = true;
    r.normalizer = true;
    detail::check_injective(x, options);
    scan::check(r, InputList(x), o, state, options.check_data);

    const features::Injective keys{options.feature, options.temperature};
    r.k_map = {features::injective_features(), &keys};
    const scan::Request absorb = detail::keys_alone(r);
    scan::Request read = detail::queries_alone(r);
    for (const scan::Request& part : {absorb, read}) scan::reserve(part, context);
    scan::begin_state(absorb, state);
    const features::Injective queries{options.feature, options.temperature,
                                      detail::scale_or_default(options.scale, x.q.dim), state.normalizer.data(),
                                      x.q.heads / x.k.heads};
    read.q_map = {features::injective_features(), &queries};
    scan::run(absorb, {}, state, context);
    scan::run(read, o, state, context);
    if (!x.local_weight.data) return;
    context.executor().parallel_for(x.q.heads * options.grid_height, [&](std::int64_t i, int) {
        detail::add_local(x, options, o, i / options.grid_height, i % options.grid_height);
    });
}

ATTENTA_END
