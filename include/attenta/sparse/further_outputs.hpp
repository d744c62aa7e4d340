// Outputs beside o and lse: scores, shares, branches. They are checked as o is.
#pragma once

#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/few_vector.hpp>
#include <attenta/sparse/common.hpp>

#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace detail {

/// The memory of inputs that are no cache.
inline FewVector<NamedBytes, 2 * InputList::most> memory_of(std::span<const Input> inputs) {
    FewVector<NamedBytes, 2 * InputList::most> all;
    for (const Input& in : inputs) {
        if (!in.given() || in.elements == Input::Elements::cache) continue;
        const Heads<const float>& x = in.view;
        if (in.elements == Input::Elements::floats)
            all.push_back({in.name, bytes_of(x)});
        else
            all.push_back(
                {in.name, bytes_of(Heads<const std::int64_t>{reinterpret_cast<const std::int64_t*>(x.data), x.heads,
                                                             x.tokens, x.dim, x.head_stride, x.token_stride})});
    }
    return all;
}

/// Throws Error where an output is misaligned, larger than any memory, or meets an input, o, lse or another one.
class FurtherOutputs {
public:
    FurtherOutputs(const SparseCall& call, std::span<const Input> inputs)
        : function_(call.function), taken_(memory_of(inputs)) {
        taken_.append(checks::inputs(call.q, call.kv));
        taken_.push_back({"o", bytes_of(call.out.o)});
        if (call.out.lse) taken_.push_back({"lse", bytes_of(hnd(call.out.lse, call.q.heads, call.q.tokens, 1))});
    }
    /// Without data it is not wanted.
    template <class T>
    void add(const char* name, const Heads<T>& x) {
        if (!x.data) return;
        checks::check_pointer(function_, name, x.data, sizeof(T), true);
        const Bytes bytes = bytes_of(x);
        checks::check_extent(function_, name, bytes);
        checks::check_apart(function_, name, bytes, taken_);
        taken_.push_back({name, bytes});
    }

private:
    const char* function_;
    FewVector<NamedBytes, 2 * InputList::most> taken_;
};

}  // namespace detail

ATTENTA_END
