// What a request must be, for all mechanisms of the scan.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/core/state_snapshots.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/scan/request.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace scan {

namespace checks {

using namespace ATTENTA_ABI::checks;

/// Heads that feed the state and heads that read it, and the widths of the state.
struct Sizes {
    std::int64_t state_heads, out_heads, features, dim_v;
    explicit Sizes(const Request& r)
        : state_heads(r.state_heads > 0 ? r.state_heads : std::max(r.k.heads, r.v.heads)),
          out_heads(std::max(r.q.heads, state_heads)),
          features(r.features > 0 ? r.features : r.k.dim),
          dim_v(r.v.dim) {}
};

/// What the caller calls a tensor of the request.
inline const char* name_of(std::span<const Input> inputs, const Heads<const float>& x, const char* otherwise) {
    for (const Input& in : inputs)
        if (in.view.data == x.data) return in.name;
    return otherwise;
}

inline void check_heads(const char* f, const char* name, std::int64_t heads, std::int64_t of, const char* whose) {
    if (heads < 1) fail(f, std::string(name) + " has " + text(heads) + " heads, needs at least 1");
    if (of % heads != 0)
        fail(f, std::string(name) + " has " + text(heads) + " heads, needs a divisor of the " + text(of) + " " + whose);
}

inline void check_qkv(const Request& r, std::span<const Input> inputs, const Sizes& z) {
    const char* f = r.function;
    const std::string q = name_of(inputs, r.q, "q"), k = name_of(inputs, r.k, "k"), v = name_of(inputs, r.v, "v");
    for (const auto& [name, x] : {std::pair{q, r.q}, {k, r.k}, {v, r.v}}) {
        if (x.tokens < 1) fail(f, name + " has " + text(x.tokens) + " tokens, needs at least 1");
        if (x.dim < 1) fail(f, name + " has " + text(x.dim) + " features, needs at least 1");
    }
    if (r.v.tokens != r.k.tokens)
        fail(f, v + " has " + text(r.v.tokens) + " tokens, " + k + " has " + text(r.k.tokens));
    if (r.q.tokens != r.k.tokens && !r.lengths_differ)
        fail(f, q + " has " + text(r.q.tokens) + " tokens, needs the " + text(r.k.tokens) + " of " + k);
    if (r.q.tokens > r.k.tokens && r.causal)
        fail(f, q + " has " + text(r.q.tokens) + " tokens, needs at most the " + text(r.k.tokens) + " of " + k);
    if (r.q.dim != r.k.dim) fail(f, k + " has " + text(r.k.dim) + " features, " + q + " has " + text(r.q.dim));
    check_heads(f, k.c_str(), r.k.heads, z.state_heads, "state heads");
    check_heads(f, v.c_str(), r.v.heads, z.state_heads, "state heads");
    check_heads(f, q.c_str(), r.q.heads, z.out_heads, "output heads");
    if (z.out_heads % z.state_heads != 0)
        fail(f,
             q + " has " + text(r.q.heads) + " heads, needs a multiple of the " + text(z.state_heads) + " state heads");
}

inline void check_state(const Request& r, const Sizes& z, const LinearState& s) {
    const char* f = r.function;
    if (elements(z.state_heads, z.features, z.dim_v) > most_elements)
        fail(f, "state is " + shape(z.state_heads, z.features, z.dim_v) + ", memory does not hold as many elements");
    if (s.empty()) return;
    if (s.heads != z.state_heads || s.dim != z.features || s.dim_v != z.dim_v)
        fail(f, "state is " + shape(s.heads, s.dim, s.dim_v) + ", needs " + shape(z.state_heads, z.features, z.dim_v));
    if (static_cast<std::int64_t>(s.matrix.size()) != s.heads * s.dim * s.dim_v)
        fail(f, "state has " + text(static_cast<std::int64_t>(s.matrix.size())) + " elements, needs " +
                    text(s.heads * s.dim * s.dim_v));
    if (r.normalizer && static_cast<std::int64_t>(s.normalizer.size()) != s.heads * s.dim)
        fail(f, "state.normalizer has " + text(static_cast<std::int64_t>(s.normalizer.size())) + " elements, needs " +
                    text(s.heads * s.dim));
}

inline void check_outputs(const Request& r, std::span<const Input> inputs, const Sizes& z, Heads<float> o,
                          const LinearState& s) {
    const char* f = r.function;
    check_output(f, z.out_heads, r.q.tokens, z.dim_v, o);
    check_pointer(f, "o", o.data, sizeof(float), true);
    const auto bytes = [](const std::vector<float>& x) { return bytes_of(std::span(x)); };
    const Bytes out = bytes_of(o), matrix = bytes(s.matrix), normalizer = bytes(s.normalizer);
    for (const Bytes& state : {matrix, normalizer, bytes(s.weight), bytes(s.key_max)})
        if (out.meets(state)) fail(f, "o overlaps state, needs memory of its own");
    for (const Input& input : inputs) {
        if (!input.given()) continue;
        const Bytes in = bytes_of(input.view);
        if (out.meets(in)) fail(f, std::string("o overlaps ") + input.name + ", needs memory of its own");
        if (matrix.meets(in) || normalizer.meets(in))
            fail(f, std::string("state overlaps ") + input.name + ", needs memory of its own");
    }
}

inline void check_state_numbers(const char* f, const LinearState& s) {
    for (const auto& [name, array] : {std::pair{"state", &s.matrix},
                                      {"state.normalizer", &s.normalizer},
                                      {"state.weight", &s.weight},
                                      {"state.key_max", &s.key_max}})
        check_numbers(f, name, hnd(array->data(), 1, static_cast<std::int64_t>(array->size()), 1), false);
}

}  // namespace checks

[[noreturn]] inline void refuse_snapshots(const Request& r) {
    fail(r.function, "state.snapshots is set, needs none: states on the way of this mechanism are not kept");
}

ATTENTA_INLINE void check(const Request& r, std::span<const Input> inputs, Heads<float> o, const LinearState& state,
                          bool check_data) {
    const checks::Sizes sizes(r);
    check_memory(r.function, "o", o);
    check_given(r.function, inputs);
    checks::check_qkv(r, inputs, sizes);
    if (!is_finite(r.scale)) fail(r.function, "scale is " + std::to_string(r.scale) + ", needs a finite number");
    LetterSizes letters;
    letters.set("Hs", sizes.state_heads);
    check_shapes(r.function, inputs, letters);
    checks::check_state(r, sizes, state);
    checks::check_outputs(r, inputs, sizes, o, state);
    if (state.snapshots && !r.keeps_states) refuse_snapshots(r);
    if (state.snapshots) state.snapshots->check(r.function, r.k.tokens);
    if (!check_data) return;
    check_numbers(r.function, inputs);
    checks::check_state_numbers(r.function, state);
}

}  // namespace scan

ATTENTA_END
