#pragma once

#include <attenta/analysis/common/check.hpp>
#include <attenta/core/finite.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline std::string sizes_text(std::span<const std::int64_t> sizes) {
    std::string text(1, '[');
    for (const std::int64_t n : sizes) text.append(text.size() > 1 ? ", " : "").append(checks::text(n));
    return text.append("]");
}

inline std::span<const std::int64_t> sizes_of(const Operand& x) { return {x.sizes.data(), x.shape.rank}; }

inline std::int64_t elements(std::span<const std::int64_t> sizes) {
    std::int64_t n = 1;
    for (const std::int64_t size : sizes) n = saturating::multiply(n, size);
    return n;
}

/// The letter of size i.
inline std::string_view letter_text(const TensorShape& shape, std::size_t i) {
    std::string_view left = shape.text;
    left = left.substr(1, left.size() - 2);
    for (; i > 0; --i) ShapeLetters::cut(left, ", ");
    return ShapeLetters::cut(left, ", ");
}

/// Of a letter that is a number, else -1.
constexpr std::int64_t number_of(std::uint32_t letter) {
    std::int64_t n = 0, place = 1;
    for (; letter != 0; letter >>= 8, place *= 10) {
        const auto digit = static_cast<std::int64_t>(letter & 0xff) - '0';
        if (digit < 0 || digit > 9) return -1;
        n += digit * place;
    }
    return n;
}

}  // namespace detail

ATTENTA_INLINE Check::Check(const char* function, std::span<const Input> inputs, const KvView& kv)
    : function_(function) {
    for (const Input& in : inputs) {
        if (!in.given()) continue;
        sizes_.take(in);
        if (in.elements == Input::Elements::floats)
            taken_.push_back({in.name, bytes_of(in.view)});
        else if (in.elements == Input::Elements::integers)
            taken_.push_back({in.name, Bytes::of(in.view.data, saturating::multiply(in.view.heads, 8))});
    }
    taken_.push_back({"k", bytes_of(kv, kv.k)});
    taken_.push_back({"v", bytes_of(kv, kv.v)});
}

ATTENTA_INLINE std::int64_t Check::size_of_letter(std::uint32_t letter) const {
    const std::int64_t number = detail::number_of(letter);
    return number >= 0 ? number : sizes_[letter];
}

ATTENTA_INLINE std::string Check::needed(const Operand& x) const {
    std::string text(1, '[');
    for (std::size_t i = 0; i < x.shape.rank; ++i) {
        const std::int64_t n = size_of_letter(x.shape.letters[i]);
        const std::string_view letter = detail::letter_text(x.shape, i);
        text.append(i > 0 ? ", " : "").append(n == LetterSizes::unknown ? std::string(letter) : checks::text(n));
    }
    return text.append("]");
}

ATTENTA_INLINE void Check::check_extent(const Operand& x) const {
    if (x.is_strided()) return check_memory(function_, x.name, x.strided);
    if (detail::elements(detail::sizes_of(x)) > checks::most_elements)
        refuse(std::string(x.name) + " is " + detail::sizes_text(detail::sizes_of(x)) +
               ", memory does not hold as many elements");
}

ATTENTA_INLINE Bytes Check::bytes_of_operand(const Operand& x) const {
    if (x.is_strided()) return bytes_of(x.strided);
    return Bytes::of(x.data, saturating::multiply(detail::elements(detail::sizes_of(x)), x.element));
}

ATTENTA_INLINE void Check::inputs(const Operands& all) {
    for (const Operand& x : all) {
        if (!x.data) {
            if (!x.optional) refuse(std::string(x.name) + " is null, needs a tensor");
            continue;
        }
        const auto sizes = detail::sizes_of(x);
        if (std::any_of(sizes.begin(), sizes.end(), [](std::int64_t n) { return n < 1; }))
            refuse(std::string(x.name) + " is " + detail::sizes_text(sizes) + ", needs at least 1 of each");
        check_extent(x);
        checks::check_pointer(function_, x.name, x.data, x.element, true);
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            const std::int64_t known = size_of_letter(x.shape.letters[i]);
            if (known != LetterSizes::unknown && known != sizes[i])
                refuse(std::string(x.name) + " is " + detail::sizes_text(sizes) + ", needs " + needed(x));
            if (known == LetterSizes::unknown) sizes_.set(detail::letter_text(x.shape, i), sizes[i]);
        }
        taken_.push_back({x.name, bytes_of_operand(x)});
    }
}

ATTENTA_INLINE void Check::check_output_sizes(const Operand& x) const {
    if (!x.has_sizes && detail::elements(detail::sizes_of(x)) > checks::most_elements)
        refuse(std::string(x.name) + " would be " + needed(x) + ", memory does not hold as many elements");
    if (!x.is_strided()) return;
    check_memory(function_, x.name, x.strided);
    checks::check_output(function_, size_of_letter(x.shape.letters[0]), size_of_letter(x.shape.letters[1]),
                         size_of_letter(x.shape.letters[2]),
                         {const_cast<float*>(x.strided.data), x.strided.heads, x.strided.tokens, x.strided.dim,
                          x.strided.head_stride, x.strided.token_stride},
                         x.name);
}

ATTENTA_INLINE void Check::outputs(const Operands& all) {
    for (Operand x : all) {
        if (!x.data) {
            if (x.has_sizes) refuse(std::string(x.name) + " is null, needs " + needed(x));
            continue;
        }
        for (std::size_t i = 0; i < x.shape.rank; ++i) {
            const std::int64_t n = size_of_letter(x.shape.letters[i]);
            if (n == LetterSizes::unknown)
                refuse(std::string(x.name) + " is given, needs the input or option that it is made of");
            if (!x.has_sizes) x.sizes[i] = n;
        }
        check_output_sizes(x);
        checks::check_pointer(function_, x.name, x.data, x.element, true);
        const Bytes bytes = bytes_of_operand(x);
        checks::check_extent(function_, x.name, bytes);
        checks::check_apart(function_, x.name, bytes, taken_);
        taken_.push_back({x.name, bytes});
    }
}

ATTENTA_INLINE void Check::within(const char* name, double x, double low, double high) const {
    if (!(x >= low && x <= high))
        refuse(std::string(name) + " is " + std::to_string(x) + ", needs " + std::to_string(low) + " to " +
               std::to_string(high));
}

ATTENTA_INLINE void Check::finite(const char* name, double x) const {
    if (!is_finite(static_cast<float>(x)))
        refuse(std::string(name) + " is " + std::to_string(x) + ", needs a finite number");
}

ATTENTA_INLINE void Check::range(const char* name, std::int64_t x, std::int64_t low, std::int64_t high) const {
    if (x < low || x > high)
        refuse(std::string(name) + " is " + checks::text(x) + ", needs " + checks::text(low) + " to " +
               checks::text(high));
}

ATTENTA_INLINE void Check::indices(const char* name, std::span<const std::int64_t> list, std::int64_t end) const {
    std::vector<std::int64_t> sorted(list.begin(), list.end());
    for (const std::int64_t i : list) range(name, i, 0, end - 1);
    std::sort(sorted.begin(), sorted.end());
    if (const auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end())
        refuse(std::string(name) + " names " + checks::text(*twice) + " twice, needs every index once");
}

ATTENTA_INLINE void Check::token_ranges(const char* of, std::span<const std::int64_t> begin,
                                        std::span<const std::int64_t> end, std::int64_t low, std::int64_t high) const {
    for (std::size_t i = 0; i < begin.size(); ++i)
        if (begin[i] < low || begin[i] >= end[i] || end[i] > high)
            refuse(std::string(of) + " " + std::to_string(i) + " is [" + checks::text(begin[i]) + ", " +
                   checks::text(end[i]) + "], needs " + checks::text(low) + " <= start < end <= " + checks::text(high));
}

ATTENTA_INLINE void Check::finite_numbers(const char* name, const float* x, std::int64_t n) const {
    const float* const wrong = std::find_if_not(x, x + n, is_finite);
    if (wrong != x + n)
        refuse(std::string(name) + " is " + std::to_string(*wrong) + " at element " + checks::text(wrong - x) +
               ", needs finite numbers");
}

ATTENTA_INLINE void Check::finite_numbers(const char* name, const Heads<const float>& x) const {
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t) finite_numbers(name, x.row(h, t), x.dim);
}

ATTENTA_INLINE void Check::scratch(const char* name, std::int64_t a, std::int64_t b, std::int64_t c) const {
    if (checks::elements(a, b, c) > checks::most_elements)
        refuse(std::string(name) + " would be " + checks::shape(a, b, c) + ", memory does not hold as many elements");
}

}  // namespace analysis

ATTENTA_END
