// How a mechanism lists its inputs, once. From the list come the checks of a call, the catalog's row and its reading of
// cases, and what tests and benchmarks draw.
//
//     struct GlaInputs {
//         Heads<const float> q, k, v, g = {};
//         static constexpr const char *output = "[Ho, T, Dv]", *state = "[Hs, D, Dv]";
//         static void list(auto&& visit, auto& x) {
//             visit("q", x.q, "[Hq, T, D]");
//             visit("k", x.k, "[Hk, T, D]");
//             visit("v", x.v, "[Hv, T, Dv]");
//             visit("g", x.g, "[Hs], [Hs, T] or [Hs, T, D]", Input::optional | Input::gate);
//         }
//     };
//
// A letter stands for one size, Ho for the most heads of any input, "D/2" for half of D. Names of heads begin with H or G,
// of tokens with T. Weights of heads have three sizes of any letters, "[Hq, Dn, R]". A view that has fewer sizes in the list
// is [heads, 1, 1], [heads, tokens, 1] or [heads, 1, dim].
// A cache is two inputs: visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]"). Tensors of integers are std::int64_t.
#pragma once

#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

ATTENTA_BEGIN

/// The letters of a shape, "Hs, T, D"; empty where it has none.
struct ShapeLetters {
    std::string_view heads, tokens, dim;

    constexpr explicit ShapeLetters(std::string_view shape) : heads(cut(shape, ", ")) {
        dim = cut(shape, ", ");
        if (shape.empty() && !dim.starts_with('T')) return;
        tokens = dim;
        dim = cut(shape, ", ");
    }

    /// Of the last of "[Hs] or [Hs, T, D]", the most detailed one.
    static constexpr ShapeLetters last_of(std::string_view shapes) {
        shapes.remove_prefix(shapes.rfind('[') + 1);
        return ShapeLetters(cut(shapes, "]"));
    }

    /// Cuts `list` at a separator: what stands before it is returned, what stands behind it stays.
    static constexpr std::string_view cut(std::string_view& list, std::string_view separator) {
        const std::size_t at = std::min(list.find(separator), list.size());
        const std::string_view before = list.substr(0, at);
        list.remove_prefix(std::min(at + separator.size(), list.size()));
        return before;
    }
};

/// A letter's characters, at most four, as a number; 0 is none.
constexpr std::uint32_t letter_code(std::string_view letter) {
    std::uint32_t code = 0;
    for (const char c : letter) code = code << 8 | static_cast<unsigned char>(c);
    return code;
}

/// "[Hs] or [Hs, T, D]", taken apart when the program is compiled: a call compares numbers.
struct ShapeList {
    struct Shape {
        std::uint32_t heads = 0, tokens = 0, dim = 0;
    };

    const char* text = "";
    std::array<Shape, 3> shapes = {};
    std::size_t count = 0;

    ShapeList() = default;
    consteval ShapeList(const char* list) : text(list) {
        std::string_view left = list;
        while (!left.empty()) {
            ShapeLetters::cut(left, "[");
            const ShapeLetters l(ShapeLetters::cut(left, "]"));
            shapes.at(count++) = {letter_code(l.heads), letter_code(l.tokens), letter_code(l.dim)};
        }
    }
};

/// An input of a call, as its list describes it.
struct Input {
    enum Flags : unsigned {
        required = 0,
        optional = 1,  ///< without data it is not given
        gate = 2,      ///< logarithms of what is kept, <= 0
    };

    const char* name = "";
    ShapeList shapes = {};
    unsigned flags = required;
    Heads<const float> view = {};  ///< a matrix is [rows, 1, columns], a vector [size, 1, 1]
    int rank = 3;                  ///< of the caller's tensor: 2 for a matrix, 1 for a vector
    /// What `view` points to: floats, integers of 64 bits, or rows of a cache, whose memory the engine checks.
    enum class Elements : std::uint8_t { floats, integers, cache } elements = Elements::floats;

    bool given() const { return view.data != nullptr; }
    ShapeLetters letters() const { return ShapeLetters::last_of(shapes.text); }
};

template <class T>
concept InputElement = std::is_same_v<T, float> || std::is_same_v<T, std::int64_t>;

namespace detail {

/// The sizes of a view, whatever it holds.
template <class T>
Heads<const float> sizes_of(const Heads<T>& x) {
    return {reinterpret_cast<const float*>(x.data), x.heads, x.tokens, x.dim, x.head_stride, x.token_stride};
}

template <InputElement T>
Input as_input(const Heads<const T>& x) {
    return {.view = sizes_of(x), .rank = 3};
}
template <InputElement T>
Input as_input(const Matrices<const T>& x) {
    return {.view = sizes_of(Heads<const T>{x.data, x.rows, 1, x.cols, x.row_stride, 0}), .rank = 2};
}
template <InputElement T>
Input as_input(std::span<const T> x) {
    return {.view = sizes_of(Heads<const T>{x.data(), static_cast<std::int64_t>(x.size()), 1, 1, 1, 0}), .rank = 1};
}
/// K or V of a cache of one sequence; a ragged one is the caller's to refuse.
inline Input as_input(const KvView& kv, const KvView::Rows& rows) {
    return {.view = {static_cast<const float*>(rows.data), kv.heads, kv.length(0), rows.dim, rows.head_stride,
                     rows.token_stride},
            .elements = Input::Elements::cache};
}
template <class T>
constexpr Input::Elements elements_of(const Heads<const T>&) {
    return std::is_same_v<T, float> ? Input::Elements::floats : Input::Elements::integers;
}
template <class T>
constexpr Input::Elements elements_of(const Matrices<const T>&) {
    return elements_of(Heads<const T>());
}
template <class T>
constexpr Input::Elements elements_of(std::span<const T>) {
    return elements_of(Heads<const T>());
}

}  // namespace detail

/// The inputs of one call.
class InputList {
public:
    static constexpr std::size_t most = 16;

    template <class Inputs>
    explicit InputList(const Inputs& x) {
        Inputs::list(Add{this}, x);
    }
    operator std::span<const Input>() const { return {reinterpret_cast<const Input*>(storage_), count_}; }
    /// To be kept.
    std::vector<Input> copy() const {
        const std::span<const Input> all = *this;
        return {all.begin(), all.end()};
    }

private:
    struct Add {
        InputList* to;

        void operator()(const char* name, const auto& tensor, const ShapeList& shapes, unsigned flags = 0) const {
            Input in = detail::as_input(tensor);
            in.elements = detail::elements_of(tensor);
            put(in, name, shapes, flags);
        }
        void operator()(const char* k, const char* v, const KvView& kv, const ShapeList& k_shape,
                        const ShapeList& v_shape, unsigned flags = 0) const {
            put(detail::as_input(kv, kv.k), k, k_shape, flags);
            put(detail::as_input(kv, kv.v), v, v_shape, flags);
        }

    private:
        void put(Input in, const char* name, const ShapeList& shapes, unsigned flags) const {
            in.name = name;
            in.shapes = shapes;
            in.flags = flags;
            ::new (to->storage_ + to->count_++ * sizeof(Input)) Input(in);
        }
    };

    alignas(Input) std::byte storage_[most * sizeof(Input)];  // not written beyond the inputs: a decode step is short
    std::size_t count_ = 0;
};

/// What letters stand for.
class LetterSizes {
public:
    static constexpr std::int64_t unknown = -1;

    std::int64_t operator[](std::uint32_t letter) const;
    void set(std::string_view letter, std::int64_t size) { set(letter_code(letter), size); }
    /// Takes up one of the shapes, the first that fits; whether there is one.
    bool take(const Input& input);
    /// The sizes [heads, tokens, dim] of a shape.
    std::array<std::int64_t, 3> of(const ShapeLetters& shape) const;
    /// "[2, 6, 1] or [2, 6, D]", numbers where they are known.
    std::string needed(const Input& input) const;

private:
    void set(std::uint32_t letter, std::int64_t size);

    std::array<std::pair<std::uint32_t, std::int64_t>, 16> sizes_;
    std::size_t count_ = 0;
};

/// Throws Error unless sizes and strides of `x` are those of memory: arithmetic with them does not overflow.
void check_memory(const char* function, const char* name, const Heads<const float>& x);
/// Throws Error unless required inputs have data, and all are of a memory and aligned.
void check_given(const char* function, std::span<const Input> inputs);
/// Throws Error unless the sizes of the inputs are those of their letters, of which some may be known before.
void check_shapes(const char* function, std::span<const Input> inputs, LetterSizes known);
/// Throws Error on NaN, and on gates above 0.
void check_numbers(const char* function, std::span<const Input> inputs);
void check_numbers(const char* function, const char* name, const Heads<const float>& x, bool gate);

ATTENTA_END
