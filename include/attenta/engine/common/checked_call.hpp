// The checks of a call that has many outputs.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/few_vector.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <cstdint>
#include <optional>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// The checks of a call, before anything is written: inputs first, then its outputs one by one.
class CheckedCall {
public:
    /// Throws Error unless the inputs are given, have the sizes of their letters, of which some may be known, and no size
    /// below 1.
    CheckedCall(const char* function, const InputList& inputs, const LetterSizes& known = {});

    /// Throws Error on a number that is given and not finite.
    void finite(const char* name, std::optional<double> x) const;
    void at_least(const char* name, std::int64_t n, std::int64_t least) const {
        checks::require_at_least(function_, name, n, least);
    }
    /// Throws Error unless every K/V head has equally many query heads.
    void groups(Heads<const float> q, std::int64_t kv_heads) const;
    /// Throws Error if causal queries are more than the keys.
    void causal(bool is_causal, std::int64_t queries, std::int64_t keys) const;
    /// Throws Error on NaN in the inputs.
    void numbers(bool check_data) const {
        if (check_data) check_numbers(function_, inputs_);
    }
    /// Throws Error where an array for the time of the call, of these sizes, is larger than any memory.
    void scratch(const char* name, std::int64_t a, std::int64_t b, std::int64_t c) const;

    /// Throws Error unless the output is of these sizes, aligned, and apart from inputs and outputs so far.
    void output(const char* name, const Heads<float>& o, std::int64_t heads, std::int64_t tokens, std::int64_t dim);
    /// The same of a dense array, which may be null.
    template <class T>
    void output(const char* name, T* dense, std::int64_t heads, std::int64_t tokens, std::int64_t dim) {
        if (!dense) return;
        checks::check_pointer(function_, name, dense, sizeof(T), true);
        apart(name, bytes_of(hnd(dense, heads, tokens, dim)));
    }

    [[noreturn]] void refuse(const std::string& reason) const { fail(function_, reason); }

private:
    void apart(const char* name, const Bytes& bytes);

    const char* function_;
    InputList inputs_;
    FewVector<NamedBytes, 2 * InputList::most> taken_;
};

}  // namespace detail

ATTENTA_END
