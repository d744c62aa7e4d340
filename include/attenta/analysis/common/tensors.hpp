// Tensors of read-outs, which have up to five sizes, and their lists: a read-out lists its inputs and its outputs once, and
// checks, catalog and tests come from the lists.
//
//     struct RolloutInputs {
//         Weights attn;
//         static void list(auto&& visit, auto& x) { visit("attn", x.attn, "[L, H, T, T]"); }
//     };
//     struct RolloutOutputs {
//         float* rollout = nullptr;
//         static void list(auto&& visit, auto& out) { visit("rollout", out.rollout, "[L, T, T]"); }
//     };
//
// A letter stands for one size, a number for itself. Letters that no input has come from the options:
//
//         static void sizes(auto&& set, const Inputs& x, const Options& options) { set("C", options.classes); }
//
// Outputs are dense arrays, null where they are not wanted, or Heads with strides.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/few_vector.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

ATTENTA_BEGIN

namespace analysis {

inline constexpr std::size_t most_sizes = 5;

/// A dense tensor of somebody else, the last size contiguous.
template <class T, std::size_t rank>
struct DenseTensor {
    static_assert(rank <= most_sizes);

    T* data = nullptr;
    std::array<std::int64_t, rank> sizes = {};

    explicit operator bool() const { return data != nullptr; }
    std::int64_t size(std::size_t i) const { return sizes[i]; }
    /// Of sizes [begin, end).
    std::int64_t count(std::size_t begin = 0, std::size_t end = rank) const {
        std::int64_t n = 1;
        for (std::size_t i = begin; i < end; ++i) n = saturating::multiply(n, sizes[i]);
        return n;
    }
    /// The last two sizes as matrices of the others, which are their heads.
    Matrices<T> matrices() const requires(rank >= 2) {
        return {data, count(0, rank - 2), sizes[rank - 2], sizes[rank - 1]};
    }
};

/// Attention weights [L, H, Tq, Tk], rows of which sum to 1.
using Weights = DenseTensor<const float, 4>;

/// The letters of "[L, H, T, T]", taken apart when the program is compiled.
struct TensorShape {
    const char* text = "";
    std::array<std::uint32_t, most_sizes> letters = {};
    std::size_t rank = 0;

    TensorShape() = default;
    consteval TensorShape(const char* shape) : text(shape) {
        std::string_view left = shape;
        left.remove_prefix(1);
        left.remove_suffix(1);
        while (!left.empty()) letters.at(rank++) = letter_code(ShapeLetters::cut(left, ", "));
    }
};

/// A tensor of a call, as the lists describe it.
struct Operand {
    const char* name = "";
    TensorShape shape = {};
    bool optional = false;
    const void* data = nullptr;
    std::array<std::int64_t, most_sizes> sizes = {};
    std::int64_t element = sizeof(float);
    bool has_sizes = true;            ///< else they are those of its letters: an array
    Heads<const float> strided = {};  ///< where a tensor has strides

    bool is_strided() const { return strided.data != nullptr; }
};
inline constexpr std::size_t most_operands = 12;
using Operands = FewVector<Operand, most_operands>;

namespace detail {

template <class T, std::size_t rank>
Operand operand_of(const DenseTensor<T, rank>& x) {
    Operand o;
    o.data = x.data;
    o.element = sizeof(T);
    for (std::size_t i = 0; i < rank; ++i) o.sizes[i] = x.sizes[i];
    return o;
}
template <class T>
Operand operand_of(const Heads<T>& x) {
    static_assert(std::is_same_v<std::remove_const_t<T>, float>);
    Operand o;
    o.data = x.data;
    o.sizes = {x.heads, x.tokens, x.dim};
    o.strided = x;
    return o;
}
template <class T>
Operand operand_of(const std::span<T>& x) {
    Operand o;
    o.data = x.data();
    o.element = sizeof(T);
    o.sizes = {static_cast<std::int64_t>(x.size())};
    return o;
}
template <class T>
Operand operand_of(T* const& x) {
    Operand o;
    o.data = x;
    o.element = sizeof(T);
    o.has_sizes = false;
    return o;
}

}  // namespace detail

/// The operands of a list, inputs or outputs, in their order.
template <class List>
Operands operands(const List& x) {
    Operands all;
    List::list(
        [&](const char* name, const auto& tensor, const TensorShape& shape, unsigned flags = 0) {
            Operand o = detail::operand_of(tensor);
            o.name = name;
            o.shape = shape;
            o.optional = (flags & Input::optional) != 0;
            all.push_back(o);
        },
        x);
    return all;
}

/// The inputs, outputs and options of a read-out's function, for code that serves all of them.
template <auto function>
struct Function;
template <class In, class Out, class Opt, void (*function)(const In&, const Out&, const Opt&, Context&)>
struct Function<function> {
    using Inputs = In;
    using Outputs = Out;
    using Options = Opt;
};

/// Inputs with a cache are listed as those of an attention, for InputList; others as tensors of any rank.
template <class Inputs>
concept ReadsCache = requires(Inputs x) {
    x.kv;
};

/// Calls set(letter, size) for the letters that options give.
template <class Outputs, class Inputs, class Options, class Set>
void for_option_sizes(Set&& set, const Inputs& x, const Options& options) {
    if constexpr (requires { Outputs::sizes(set, x, options); }) Outputs::sizes(set, x, options);
}

}  // namespace analysis

ATTENTA_END
