#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/rotary/angles.hpp>
#include <attenta/engine/rotary/kernels.hpp>
#include <attenta/sparse/documents/rope_reencode.hpp>

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_rope_reencode(const RopeReencodeInputs& x, Heads<float> k_new, const RopeReencodeOptions& options) {
    const char* const f = "rope_reencode";
    const InputList inputs(x);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    if (x.k.heads < 1 || x.k.tokens < 1 || x.k.dim < 1)
        fail(f, "k is " + checks::shape(x.k.heads, x.k.tokens, x.k.dim) + ", needs at least one of each");
    if (!is_finite(options.base) || options.base <= 0)
        fail(f, "base is " + std::to_string(options.base) + ", needs a finite number above 0");
    const std::int64_t rotated = options.rotary_dim.value_or(x.k.dim);
    if (rotated < 1 || rotated > x.k.dim || rotated % 2 != 0)
        fail(f, "rotary_dim is " + checks::text(rotated) + ", needs an even number up to the " + checks::text(x.k.dim) +
                    " features of k");
    if (options.check_data) check_numbers(f, inputs);
    checks::check_output(f, x.k.heads, x.k.tokens, x.k.dim, k_new, "k_new");
    checks::check_pointer(f, "k_new", k_new.data, sizeof(float), true);
    const std::array positions = {NamedBytes{"old_position", bytes_of(x.old_position)},
                                  NamedBytes{"new_position", bytes_of(x.new_position)}};
    checks::check_apart(f, "k_new", bytes_of(k_new), positions);
    const bool in_place =
        k_new.data == x.k.data && k_new.head_stride == x.k.head_stride && k_new.token_stride == x.k.token_stride;
    if (!in_place) checks::check_apart(f, "k_new", bytes_of(k_new), std::array{NamedBytes{"k", bytes_of(x.k)}});
}

}  // namespace detail

ATTENTA_INLINE void rope_reencode(const RopeReencodeInputs& x, const Heads<float>& k_new,
                                  const RopeReencodeOptions& options, Context& context) {
    detail::check_rope_reencode(x, k_new, options);
    // Tokens that move equally far come together, so that a task makes one table for them.
    std::vector<double> displacement(static_cast<std::size_t>(x.k.tokens));
    for (std::size_t t = 0; t < displacement.size(); ++t)
        displacement[t] = static_cast<double>(x.new_position[t]) - static_cast<double>(x.old_position[t]);
    std::vector<std::size_t> order(displacement.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return displacement[a] < displacement[b]; });

    std::vector<double> frequencies;
    rotary::set_frequencies(frequencies, options.rotary_dim.value_or(x.k.dim), double{options.base});
    const auto pairs = static_cast<std::int64_t>(frequencies.size());
    const rotary::RotateRow rotate = rotary::rotate_rows(active_isa()).of(Dtype::f32);
    constexpr std::int64_t together = 128;  // tokens of a task
    run_tasks(context.executor(), (x.k.tokens + together - 1) / together, [&](std::int64_t task, int) {
        std::vector<float> table(2 * frequencies.size());
        const std::int64_t begin = task * together, end = std::min(begin + together, x.k.tokens);
        for (std::int64_t n = begin; n < end; ++n) {
            const std::size_t token = order[static_cast<std::size_t>(n)];
            if (n == begin || displacement[token] != displacement[order[static_cast<std::size_t>(n - 1)]])
                rotary::set_angles(frequencies, displacement[token], 1, options.interleaved, table.data());
            for (std::int64_t h = 0; h < x.k.heads; ++h) {
                const auto t = static_cast<std::int64_t>(token);
                rotate(x.k.row(h, t), table.data(), pairs, options.interleaved, x.k.dim, k_new.row(h, t));
            }
        }
    });
}

ATTENTA_END
