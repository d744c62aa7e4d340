#include "recipes.hpp"

#include <algorithm>
#include <string>

namespace compare {

namespace {

bool declares(const Setup& s, std::string_view input) {
    return (", " + s.mechanism.inputs).find(", " + std::string(input) + " [") != std::string::npos;
}

void apply_family(Setup& s) {
    const std::string_view family = s.mechanism.family;
    if (s.has_parameter("causal")) s.set("causal", true);
    if (family == "sparse") {
        s.exact = Exact::causal;
        s.has_mass = s.mechanism.outputs.find("lse [") != std::string::npos;
    } else if (family == "softmax" || family == "variants") {
        s.dense = declares(s, "k") && declares(s, "v") && s.has_parameter("causal");
    } else if (family == "latent") {
        s.dense = true;
    } else if (family == "kv") {
        s.exact = Exact::causal;
        s.has_mass = true;
        if (s.has_parameter("budget")) s.set("budget", s.budget);
        if (s.has_parameter("window") && s.has_parameter("budget"))
            s.set("window", std::clamp<std::int64_t>(s.budget / 4, 1, 32));
    }
}

const Recipe* recipe_of(const attenta::Mechanism& m) {
    const std::string name = std::string(m.family) + "/" + std::string(m.name);
    for (const auto recipes : {softmax_recipes(), linear_recipes(), sparse_recipes(), kv_recipes(), other_recipes()})
        for (const Recipe& r : recipes)
            if (r.mechanism == name) return &r;
    return nullptr;
}

}  // namespace

bool has_recipe(const attenta::Mechanism& mechanism) { return recipe_of(mechanism) != nullptr; }

void apply_recipe(Setup& s) {
    apply_family(s);
    if (const Recipe* r = recipe_of(s.mechanism)) r->apply(s);
}

}  // namespace compare
