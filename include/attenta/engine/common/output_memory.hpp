// Outputs beside o and lse: they are checked as o is.
#pragma once

#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/few_vector.hpp>
#include <attenta/engine/common/inputs.hpp>

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

/// Throws Error where an output is misaligned, larger than any memory, or meets an input or another output.
class OutputMemory {
public:
    OutputMemory(const char* function, std::span<const Input> inputs)
        : function_(function), taken_(memory_of(inputs)) {}
    /// Of an attention that writes o and lse.
    OutputMemory(const char* function, std::span<const Input> inputs, Heads<const float> q, const KvView& kv,
                 const Heads<float>& o, const float* lse)
        : OutputMemory(function, inputs) {
        taken_.append(checks::inputs(q, kv));
        taken_.push_back({"o", bytes_of(o)});
        if (lse) taken_.push_back({"lse", bytes_of(hnd(lse, q.heads, q.tokens, 1))});
    }

    /// Memory that outputs to come must not meet.
    void take(const NamedBytes& taken) { taken_.push_back(taken); }
    /// An output; without data it is not wanted.
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
