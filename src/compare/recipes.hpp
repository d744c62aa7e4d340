// What a mechanism needs beside what the rules for names and letters give it.
#pragma once

#include <span>
#include <string_view>

#include "setup.hpp"

namespace compare {

struct Recipe {
    std::string_view mechanism;  ///< "family/name"
    void (*apply)(Setup& setup);
};

/// What holds for its family, then the mechanism's own, if it has one.
void apply_recipe(Setup& setup);
bool has_recipe(const attenta::Mechanism& mechanism);

std::span<const Recipe> softmax_recipes(), linear_recipes(), sparse_recipes(), kv_recipes(), other_recipes();

}  // namespace compare
