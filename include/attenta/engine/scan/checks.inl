// What a request must be, for all mechanisms of the scan.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
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

inline std::string shape(std::int64_t a, std::int64_t b, std::int64_t c) {
    std::string s(1, '[');
    return s.append(text(a)).append(", ").append(text(b)).append(", ").append(text(c)).append(1, ']');
}

/// More than any memory holds; sums and products of fewer do not overflow.
inline constexpr std::int64_t most_elements = std::int64_t{1} << 48;
constexpr std::int64_t elements(std::int64_t a, std::int64_t b, std::int64_t c) {
    return saturating::multiply(saturating::multiply(a, b), c);
}

/// Heads that feed the state and heads that read it, and the widths of the state.
struct Sizes {
    std::int64_t state_heads, out_heads, features, dim_v;
    explicit Sizes(const Request& r)
        : state_heads(r.state_heads > 0 ? r.state_heads : std::max(r.k.heads, r.v.heads)),
          out_heads(std::max(r.q.heads, state_heads)),
          features(r.features > 0 ? r.features : r.k.dim),
          dim_v(r.v.dim) {}
};

inline void check_heads(const char* f, const char* name, std::int64_t heads, std::int64_t of, const char* whose) {
    if (heads < 1) fail(f, std::string(name) + " has " + text(heads) + " heads, needs at least 1");
    if (of % heads != 0)
        fail(f, std::string(name) + " has " + text(heads) + " heads, needs a divisor of the " + text(of) + " " + whose);
}

inline void check_qkv(const Request& r, const Sizes& z) {
    const char* f = r.function;
    const std::string q = r.q_name, k = r.k_name, v = r.v_name;
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
    check_heads(f, r.k_name, r.k.heads, z.state_heads, "state heads");
    check_heads(f, r.v_name, r.v.heads, z.state_heads, "state heads");
    check_heads(f, r.q_name, r.q.heads, z.out_heads, "output heads");
    if (z.out_heads % z.state_heads != 0)
        fail(f,
             q + " has " + text(r.q.heads) + " heads, needs a multiple of the " + text(z.state_heads) + " state heads");
}

inline void check_gates(const Request& r, const Sizes& z) {
    const char* f = r.function;
    const std::int64_t tokens = r.k.tokens;
    if (r.g.data && (r.g.heads != z.state_heads || (r.g.tokens != tokens && r.g.tokens != 1) ||
                     (r.g.dim != 1 && (r.g.dim != z.features || r.g.tokens != tokens))))
        fail(f, "g is " + shape(r.g.heads, r.g.tokens, r.g.dim) + ", needs " + shape(z.state_heads, 1, 1) + ", " +
                    shape(z.state_heads, tokens, 1) + " or " + shape(z.state_heads, tokens, z.features));
    if (r.gv.data) check_shape(f, "gv", r.gv, z.state_heads, tokens, z.dim_v);
    if (r.beta.data) check_shape(f, "beta", r.beta, z.state_heads, tokens, 1);
    if (r.u.data) check_shape(f, "u", r.u, z.state_heads, 1, z.features);
    if (r.a.data) check_shape(f, "a", r.a, z.state_heads, tokens, z.features);
    if (r.b.data) check_shape(f, "b", r.b, z.state_heads, tokens, z.features);
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

/// Calls f(name, tensor, whether a gate) for all inputs of the caller.
template <class F>
void for_each_input(const Request& r, F&& f) {
    for (const Named& n : r.others) f(n.name, n.x, false);
    const std::pair<const char*, const Heads<const float>*> tensors[] = {
        {r.q_name, &r.q}, {r.k_name, &r.k}, {r.v_name, &r.v}, {r.beta_name, &r.beta},
        {"u", &r.u},      {"a", &r.a},      {"b", &r.b}};
    for (const auto& [name, x] : tensors)
        if (name && x->data) f(name, *x, false);
    if (r.g_name && r.g.data) f(r.g_name, r.g, true);
    if (r.gv.data) f("gv", r.gv, true);
}

inline void check_output(const Request& r, const Sizes& z, Heads<float> o, const LinearState& s) {
    const char* f = r.function;
    ATTENTA_ABI::checks::check_output(f, z.out_heads, r.q.tokens, z.dim_v, o);
    const auto bytes = [](const std::vector<float>& x) { return bytes_of(std::span(x)); };
    const Bytes out = bytes_of(o), matrix = bytes(s.matrix), normalizer = bytes(s.normalizer);
    for (const auto& [name, data] :
         {std::pair{r.q_name, r.q.data}, {r.k_name, r.k.data}, {r.v_name, r.v.data}, {"o", +o.data}})
        check_pointer(f, name, data, sizeof(float), true);
    for (const Bytes& state : {matrix, normalizer, bytes(s.weight), bytes(s.key_max)})
        if (out.meets(state)) fail(f, "o overlaps state, needs memory of its own");
    for_each_input(r, [&](const char* name, const Heads<const float>& x, bool) {
        check_pointer(f, name, x.data, sizeof(float), false);
        const Bytes in = bytes_of(x);
        if (out.meets(in)) fail(f, std::string("o overlaps ") + name + ", needs memory of its own");
        if (matrix.meets(in) || normalizer.meets(in))
            fail(f, std::string("state overlaps ") + name + ", needs memory of its own");
    });
}

inline void check_numbers(const char* f, const char* name, const Heads<const float>& x, bool gate) {
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t)
            for (std::int64_t d = 0; d < x.dim; ++d) {
                const float e = x.row(h, t)[d];
                if (is_nan(e) || (gate && e > 0))
                    fail(f, std::string(name) + " is " + std::to_string(e) + " at " + shape(h, t, d) + ", needs " +
                                (gate ? "a number <= 0" : "a number"));
            }
}

}  // namespace checks

ATTENTA_INLINE void check_memory(const char* f, const char* name, const Heads<const float>& x) {
    using namespace ATTENTA_ABI::checks;
    if (x.head_stride < 0 || x.token_stride < 0)
        fail(f, std::string(name) + " has strides " + text(x.head_stride) + " and " + text(x.token_stride) +
                    ", needs at least 0");
    if (checks::elements(x.heads, x.tokens, x.dim) > checks::most_elements || bytes_of(x).size() >= Bytes::too_many)
        fail(f, std::string(name) + " is " + checks::shape(x.heads, x.tokens, x.dim) + " with strides " +
                    text(x.head_stride) + " and " + text(x.token_stride) + ", memory does not hold as many elements");
}

ATTENTA_INLINE void check_shape(const char* f, const char* name, const Heads<const float>& x, std::int64_t heads,
                                std::int64_t tokens, std::int64_t dim) {
    if (x.heads != heads || x.tokens != tokens || x.dim != dim)
        fail(f, std::string(name) + " is " + checks::shape(x.heads, x.tokens, x.dim) + ", needs " +
                    checks::shape(heads, tokens, dim));
}

ATTENTA_INLINE void check(const Request& r, Heads<float> o, const LinearState& state, bool check_data) {
    const checks::Sizes sizes(r);
    check_memory(r.function, "o", o);
    checks::for_each_input(
        r, [&](const char* name, const Heads<const float>& x, bool) { check_memory(r.function, name, x); });
    checks::check_qkv(r, sizes);
    if (!is_finite(r.scale)) fail(r.function, "scale is " + std::to_string(r.scale) + ", needs a finite number");
    checks::check_gates(r, sizes);
    checks::check_state(r, sizes, state);
    checks::check_output(r, sizes, o, state);
    if (!check_data) return;
    checks::for_each_input(r, [&](const char* name, const Heads<const float>& x, bool gate) {
        checks::check_numbers(r.function, name, x, gate);
    });
    for (const auto& [name, array] : {std::pair{"state", &state.matrix},
                                      {"state.normalizer", &state.normalizer},
                                      {"state.weight", &state.weight},
                                      {"state.key_max", &state.key_max}})
        checks::check_numbers(r.function, name, hnd(array->data(), 1, static_cast<std::int64_t>(array->size()), 1),
                              false);
}

}  // namespace scan

ATTENTA_END
