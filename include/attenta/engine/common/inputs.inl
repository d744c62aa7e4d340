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

/// Calls f with "Hs, T, D" of each of "[Hs] or [Hs, T, D]", until it returns true.
template <class F>
bool any_shape(std::string_view shapes, F&& f) {
    while (!shapes.empty()) {
        ShapeLetters::cut(shapes, "[");
        if (f(ShapeLetters::cut(shapes, "]"))) return true;
    }
    return false;
}

}  // namespace checks

ATTENTA_INLINE std::int64_t LetterSizes::operator[](std::string_view letter) const {
    if (letter.empty()) return 1;
    if (letter.ends_with("/2")) {
        const std::int64_t whole = (*this)[letter.substr(0, letter.size() - 2)];
        return whole == unknown ? unknown : whole / 2;
    }
    for (std::size_t i = 0; i < count_; ++i)
        if (sizes_[i].first == letter) return sizes_[i].second;
    return unknown;
}

ATTENTA_INLINE void LetterSizes::set(std::string_view letter, std::int64_t size) {
    if (count_ < sizes_.size()) sizes_[count_++] = {letter, size};
}

ATTENTA_INLINE bool LetterSizes::fits(std::string_view shape, const Input& input) {
    const ShapeLetters letters(shape);
    const std::pair<std::string_view, std::int64_t> sizes[] = {
        {letters.heads, input.view.heads}, {letters.tokens, input.view.tokens}, {letters.dim, input.view.dim}};
    for (const auto& [letter, size] : sizes)
        if (const std::int64_t known = (*this)[letter]; known != unknown && known != size) return false;
    for (const auto& [letter, size] : sizes)
        if ((*this)[letter] == unknown) set(letter, size);
    return true;
}

ATTENTA_INLINE bool LetterSizes::take(const Input& input) {
    return checks::any_shape(input.shapes, [&](std::string_view shape) { return fits(shape, input); });
}

ATTENTA_INLINE std::array<std::int64_t, 3> LetterSizes::of(std::string_view shape) const {
    std::array<std::int64_t, 3> sizes{};
    checks::any_shape(shape, [&](std::string_view letters) {
        const ShapeLetters l(letters);
        sizes = {(*this)[l.heads], (*this)[l.tokens], (*this)[l.dim]};
        return true;
    });
    return sizes;
}

ATTENTA_INLINE std::string LetterSizes::needed(const Input& input) const {
    const auto number = [this](std::string_view letter) {
        const std::int64_t size = (*this)[letter];
        return size == unknown ? std::string(letter) : std::to_string(size);
    };
    std::string all;
    checks::any_shape(input.shapes, [&](std::string_view shape) {
        const ShapeLetters letters(shape);
        if (!all.empty()) all += " or ";
        all.append("[").append(number(letters.heads));
        if (input.rank == 3) all.append(", ").append(number(letters.tokens));
        if (input.rank >= 2) all.append(", ").append(number(letters.dim));
        all.append("]");
        return false;
    });
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
        check_memory(f, in.name, in.view);
        checks::check_pointer(f, in.name, in.view.data, sizeof(float), false);
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
        if (in.given()) check_numbers(f, in.name, in.view, (in.flags & Input::gate) != 0);
}

ATTENTA_END
