// The tensors that a row of the catalog declares in `inputs` and `outputs`, and the sizes that they share.
#pragma once

#include <attenta/catalog.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

/// "(bias [1 or Hq, Tq, Tk])" or "g [Hs], [Hs, T] or [Hs, T, D]".
struct Declared {
    using Sizes = std::vector<std::string_view>;  ///< numbers, letters, or a number and a letter: "1 or Hq"
    std::string_view name;
    bool optional = false;
    std::vector<Sizes> shapes;  ///< any of them
};

std::vector<Declared> declared(std::string_view list);

/// "q [H, T, D], (g [H, T, D], state [H, D, Dv])": the other way round. `more` is optional, or empty.
std::string text_of(std::span<const Input> inputs, const std::string& more = {});

/// Throws Error unless a letter stands for one size in all the inputs that are given and their numbers of heads divide
/// one another. A mechanism checks the same and more, but its outputs have to be there then, and their sizes are taken
/// from the inputs.
void check_sizes(const Mechanism& mechanism, const Tensors& inputs);

ATTENTA_END
