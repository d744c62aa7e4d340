#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/common/checked_call.hpp>

#include <cstdint>
#include <span>
#include <string>

ATTENTA_BEGIN

namespace detail {

ATTENTA_INLINE CheckedCall::CheckedCall(const char* function, const InputList& inputs, const LetterSizes& known)
    : function_(function), inputs_(inputs) {
    const std::span<const Input> all = inputs_;
    check_given(function, all);
    for (const Input& in : all) {
        if (!in.given()) continue;
        if (in.view.heads < 1 || in.view.tokens < 1 || in.view.dim < 1)
            refuse(std::string(in.name) + " is " + checks::shape(in.view.heads, in.view.tokens, in.view.dim) +
                   ", needs at least 1 of each");
        const Heads<const float>& x = in.view;
        const Heads<const std::int64_t> integers{
            reinterpret_cast<const std::int64_t*>(x.data), x.heads, x.tokens, x.dim, x.head_stride, x.token_stride};
        taken_.push_back({in.name, in.elements == Input::Elements::integers ? bytes_of(integers) : bytes_of(x)});
    }
    check_shapes(function, all, known);
}

ATTENTA_INLINE void CheckedCall::finite(const char* name, std::optional<double> x) const {
    if (x && !is_finite(static_cast<float>(*x)))
        refuse(std::string(name) + " is " + std::to_string(*x) + ", needs a finite number");
}

ATTENTA_INLINE void CheckedCall::groups(Heads<const float> q, std::int64_t kv_heads) const {
    if (q.heads % kv_heads != 0)
        refuse("q has " + checks::text(q.heads) + " heads, needs a multiple of the " + checks::text(kv_heads) +
               " heads of k");
}

ATTENTA_INLINE void CheckedCall::causal(bool is_causal, std::int64_t queries, std::int64_t keys) const {
    if (is_causal && queries > keys)
        refuse("q has " + checks::text(queries) + " tokens, causal needs at most the " + checks::text(keys) + " of k");
}

ATTENTA_INLINE void CheckedCall::scratch(const char* name, std::int64_t a, std::int64_t b, std::int64_t c) const {
    if (checks::elements(a, b, c) > checks::most_elements)
        refuse(std::string(name) + " would be " + checks::shape(a, b, c) + ", memory does not hold as many elements");
}

ATTENTA_INLINE void CheckedCall::output(const char* name, const Heads<float>& o, std::int64_t heads,
                                        std::int64_t tokens, std::int64_t dim) {
    check_memory(function_, name, o);
    checks::check_output(function_, heads, tokens, dim, o, name);
    checks::check_pointer(function_, name, o.data, sizeof(float), true);
    apart(name, bytes_of(o));
}

ATTENTA_INLINE void CheckedCall::apart(const char* name, const Bytes& bytes) {
    checks::check_extent(function_, name, bytes);
    checks::check_apart(function_, name, bytes, taken_);
    taken_.push_back({name, bytes});
}

}  // namespace detail

ATTENTA_END
