// The checks of a read-out, before anything is written: inputs by their list, options one by one, outputs by theirs.
#pragma once

#include <attenta/analysis/common/tensors.hpp>
#include <attenta/core/context.hpp>
#include <attenta/core/error.hpp>
#include <attenta/engine/common/checks.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

ATTENTA_BEGIN

namespace analysis {

class Check {
public:
    /// Throws Error unless inputs are there and aligned, have the sizes of their letters, none of them below 1, and fit into
    /// memory.
    template <class Inputs>
    Check(const char* function, const Inputs& x) : function_(function) {
        inputs(operands(x));
    }
    /// Of a call whose inputs and sizes have been checked: an attention on a cache.
    Check(const char* function, std::span<const Input> inputs, const KvView& kv);

    const char* function() const { return function_; }
    [[noreturn]] void refuse(const std::string& reason) const { fail(function_, reason); }

    /// Throws Error unless an optional input is given that `by` needs.
    void needs(const char* name, bool given, std::string_view by) const {
        if (!given) refuse(std::string(name) + " is missing, " + std::string(by) + " needs it");
    }
    void at_least(const char* name, std::int64_t n, std::int64_t least) const {
        checks::require_at_least(function_, name, n, least);
    }
    /// Throws Error unless low <= x <= high, which NaN is not.
    void within(const char* name, double x, double low, double high) const;
    void finite(const char* name, double x) const;
    void range(const char* name, std::int64_t x, std::int64_t low, std::int64_t high) const;
    /// Throws Error on an index of `list` outside [0, end), and on one that is named twice.
    void indices(const char* name, std::span<const std::int64_t> list, std::int64_t end) const;
    /// Throws Error unless begin[i] < end[i] lie in [low, high) for all i.
    void token_ranges(const char* of, std::span<const std::int64_t> begin, std::span<const std::int64_t> end,
                      std::int64_t low, std::int64_t high) const;
    /// Throws Error unless all is finite: for what sorts or decomposes.
    void finite_numbers(const char* name, const float* x, std::int64_t n) const;
    template <class T, std::size_t rank>
    void finite_numbers(const char* name, const DenseTensor<T, rank>& x) const {
        if (x) finite_numbers(name, x.data, x.count());
    }
    void finite_numbers(const char* name, const Heads<const float>& x) const;
    /// Throws Error where an array for the time of the call would be larger than any memory.
    void scratch(const char* name, std::int64_t a, std::int64_t b, std::int64_t c) const;

    /// Throws Error unless every output that is given has the sizes of its letters, and lies apart from inputs and others.
    template <class Outputs, class Inputs, class Options>
    void outputs(const Outputs& out, const Inputs& x, const Options& options) {
        for_option_sizes<Outputs>([this](std::string_view letter, std::int64_t n) { sizes_.set(letter, n); }, x,
                                  options);
        outputs(operands(out));
    }

private:
    void inputs(const Operands& all);
    void outputs(const Operands& all);
    std::int64_t size_of_letter(std::uint32_t letter) const;
    std::string needed(const Operand& x) const;
    void check_extent(const Operand& x) const;
    void check_output_sizes(const Operand& x) const;
    Bytes bytes_of_operand(const Operand& x) const;

    const char* function_;
    LetterSizes sizes_;
    FewVector<NamedBytes, 2 * most_operands> taken_;
};

/// f(begin, end) for pieces of [0, n), `of_task` of them a task, which depends on sizes alone.
template <class F>
void for_pieces(Context& context, std::int64_t n, std::int64_t of_task, F&& f) {
    context.executor().parallel_for((n + of_task - 1) / of_task, [&](std::int64_t i, int) {
        const std::int64_t begin = i * of_task, end = begin + of_task;
        f(begin, end < n ? end : n);
    });
}

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/common/check.inl>
#include <attenta/engine/common/inputs.inl>
#endif
