#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

ATTENTA_BEGIN

namespace checks {

/// "[2, 6, 16]": as many sizes as the caller's tensor has.
inline std::string shape_of(const Input& input) {
    const Heads<const float>& x = input.view;
    if (input.rank == 3) return shape(x.heads, x.tokens, x.dim);
    std::string sizes(1, '[');
    sizes += text(x.heads);
    if (input.rank == 2) sizes.append(", ").append(text(x.dim));
    return sizes.append("]");
}

}  // namespace checks

ATTENTA_INLINE std::int64_t LetterSizes::operator[](std::uint32_t letter) const {
    constexpr std::uint32_t half = letter_code("/2");
    if (letter == 0) return 1;
    for (std::size_t i = 0; i < count_; ++i)
        if (sizes_[i].first == letter) return sizes_[i].second;
    if ((letter & 0xffff) != half) return unknown;
    const std::int64_t whole = (*this)[letter >> 16];
    return whole == unknown ? unknown : whole / 2;
}

ATTENTA_INLINE void LetterSizes::set(std::uint32_t letter, std::int64_t size) {
    if (count_ == sizes_.size())
        fail("LetterSizes", "an input list has more than " + std::to_string(count_) + " sizes, needs a larger table");
    sizes_[count_++] = {letter, size};
}

ATTENTA_INLINE bool LetterSizes::take(const Input& input) {
    const Heads<const float>& x = input.view;
    for (std::size_t i = 0; i < input.shapes.count; ++i) {
        const ShapeList::Shape& shape = input.shapes.shapes[i];
        const std::pair<std::uint32_t, std::int64_t> sizes[] = {
            {shape.heads, x.heads}, {shape.tokens, x.tokens}, {shape.dim, x.dim}};
        const std::size_t before = count_;
        bool fits = true;
        for (const auto& [letter, size] : sizes) {
            const std::int64_t known = (*this)[letter];
            fits = fits && (known == unknown || known == size);
            if (known == unknown) set(letter, size);
        }
        if (fits) return true;
        count_ = before;
    }
    return false;
}

ATTENTA_INLINE std::array<std::int64_t, 3> LetterSizes::of(const ShapeLetters& shape) const {
    return {(*this)[letter_code(shape.heads)], (*this)[letter_code(shape.tokens)], (*this)[letter_code(shape.dim)]};
}

ATTENTA_INLINE std::string LetterSizes::needed(const Input& input) const {
    const auto number = [this](std::string_view letter) {
        const std::int64_t size = (*this)[letter_code(letter)];
        return size == unknown ? std::string(letter) : std::to_string(size);
    };
    std::string all;
    for (std::string_view left = input.shapes.text; !left.empty();) {
        ShapeLetters::cut(left, "[");
        const ShapeLetters letters(ShapeLetters::cut(left, "]"));
        if (!all.empty()) all += " or ";
        all.append("[").append(number(letters.heads));
        if (input.rank == 3) all.append(", ").append(number(letters.tokens));
        if (input.rank >= 2) all.append(", ").append(number(letters.dim));
        all.append("]");
    }
    return all;
}

ATTENTA_INLINE void check_memory(const char* f, const char* name, const Heads<const float>& x) {
    using namespace checks;
    if (x.head_stride < 0 || x.token_stride < 0)
        fail(f, std::string(name) + " has strides " + text(x.head_stride) + " and " + text(x.token_stride) +
                    ", needs at least 0");
    if (elements(x.heads, x.tokens, x.dim) > most_elements || bytes_of(x).size() >= Bytes::too_many)
        fail(f, std::string(name) + " is " + shape(x.heads, x.tokens, x.dim) + " with strides " + text(x.head_stride) +
                    " and " + text(x.token_stride) + ", memory does not hold as many elements");
}

ATTENTA_INLINE void check_given(const char* f, std::span<const Input> inputs) {
    for (const Input& in : inputs) {
        if (!in.given() && in.rank == 1 && in.view.heads > 0)
            fail(f, std::string(in.name) + " is null, has " + checks::text(in.view.heads) + " elements to hold");
        if (!in.given() && !(in.flags & Input::optional)) fail(f, std::string(in.name) + " is null, needs a tensor");
        if (!in.given()) continue;
        if (in.elements == Input::Elements::cache) continue;
        check_memory(f, in.name, in.view);
        checks::check_pointer(f, in.name, in.view.data, in.elements == Input::Elements::floats ? 4 : 8, false);
    }
}

ATTENTA_INLINE void check_shapes(const char* f, std::span<const Input> inputs, LetterSizes sizes) {
    for (const Input& in : inputs)
        if (in.given() && !sizes.take(in))
            fail(f, std::string(in.name) + " is " + checks::shape_of(in) + ", needs " + sizes.needed(in));
}

ATTENTA_INLINE void check_numbers(const char* f, const char* name, const Heads<const float>& x, bool gate) {
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t)
            for (std::int64_t d = 0; d < x.dim; ++d) {
                const float e = x.row(h, t)[d];
                if (is_nan(e) || (gate && e > 0))
                    fail(f, std::string(name) + " is " + std::to_string(e) + " at " + checks::shape(h, t, d) +
                                ", needs " + (gate ? "a number <= 0" : "a number"));
            }
}

ATTENTA_INLINE void check_numbers(const char* f, std::span<const Input> inputs) {
    for (const Input& in : inputs)
        if (in.given() && in.elements == Input::Elements::floats)
            check_numbers(f, in.name, in.view, (in.flags & Input::gate) != 0);
}

ATTENTA_END
