// What rows of mechanisms on feature maps share: kernels of convolutions.
#pragma once

#include <attenta/engine/common/inputs.hpp>

#include <string>
#include <string_view>

#include "arguments.hpp"
#include "declared.hpp"

ATTENTA_BEGIN

namespace rows {

/// The shape of a kernel [O, C, n²], "[O, C, NN]", of n x n taps, [O, C, n, n] in a file.
inline bool is_of_taps(std::string_view shape) { return shape.ends_with("NN]") || shape.ends_with("MM]"); }

template <class Inputs>
struct WithoutTaps : Inputs {
    static void list(auto&& visit, auto& x) {
        Inputs::list(
            [&](const char* name, auto& tensor, const ShapeList& shape, unsigned flags = 0) {
                if (!is_of_taps(shape.text)) visit(name, tensor, shape, flags);
            },
            x);
    }
};

/// The inputs of a mechanism, its kernels as frameworks keep them.
template <class Inputs>
Inputs map_inputs(Arguments& args) {
    Inputs x = args.inputs<WithoutTaps<Inputs>>();
    Inputs::list(
        [&](const char* name, auto& tensor, const ShapeList& shape, unsigned flags = 0) {
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(tensor)>, Heads<const float>>) {
                if (!is_of_taps(shape.text) || ((flags & Input::optional) && !args.has(name))) return;
                const auto a = args.array<float>(name, {any_size, any_size, any_size, any_size});
                if (a.shape[2] != a.shape[3])
                    args.refuse("input '" + std::string(name) + "' has " + std::to_string(a.shape[2]) + " x " +
                                std::to_string(a.shape[3]) + " taps, expected as many rows as columns");
                tensor = hnd(a.data, a.shape[0], a.shape[1], a.shape[2] * a.shape[3]);
            }
        },
        x);
    return x;
}

/// The text of a list, with the sizes of kernels as a file has them.
template <class Inputs>
std::string map_inputs_text() {
    std::string text = text_of(InputList(Inputs{}));
    for (const auto& [taps, sizes] : {std::pair{"NN]", "n, n]"}, {"MM]", "m, m]"}})
        for (std::size_t at = text.find(taps); at != std::string::npos; at = text.find(taps, at + 1))
            text.replace(at, 3, sizes);
    return text;
}

}  // namespace rows

ATTENTA_END
