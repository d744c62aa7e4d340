// The mechanisms of the benchmarks of linear attention, by name.
#pragma once

#include "bench/linear/inputs.hpp"
#include "bench/linear/naive_eigen.hpp"

#include <attenta/core/context.hpp>
#include <attenta/core/linear_state.hpp>

#include <span>
#include <string_view>

namespace bench {

struct LinearMechanism {
    std::string_view name;
    /// The library's, causal, with the options that the baseline implements.
    void (*attenta)(const LinearInputs& x, attenta::Heads<float> o, attenta::LinearState& state,
                    attenta::Context& context);
    naive::Linear* naive;
};

std::span<const LinearMechanism> linear_mechanisms();

/// Throws std::invalid_argument for an unknown name.
const LinearMechanism& linear_mechanism(std::string_view name);

}  // namespace bench
