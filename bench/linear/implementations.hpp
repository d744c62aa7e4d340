// Who computes linear attention in the benchmarks: we, the Eigen baseline, and the peers, each of which has a file in
// peers/ that makes it known.
#pragma once

#include "bench/added.hpp"

#include <attenta/catalog.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/core/linear_state.hpp>

#include <functional>
#include <string_view>
#include <vector>

namespace bench {

/// Adds the inputs' tokens to the state, empty at the start and laid out as the implementation wants it. Gives where the
/// outputs [T, H, D] are: in o, or where the implementation has them.
using RunLinear = std::function<const float*(attenta::Heads<float> o, attenta::LinearState& state)>;

struct LinearImplementation {
    std::string_view name;
    bool (*supports)(std::string_view mechanism);
    /// Everything that is done once for the inputs, outside of the timing.
    RunLinear (*prepare)(std::string_view mechanism, const attenta::NamedInputs& inputs, int threads);
    /// The instruction set whose peak it is measured against.
    attenta::Isa (*isa)();
    bool has_our_state = false;  ///< its state is ours, number for number
};

/// attenta comes first, what peers have added last.
const std::vector<LinearImplementation>& linear_implementations();

/// Throws std::invalid_argument for an unknown name.
const LinearImplementation& linear_implementation(std::string_view name);

}  // namespace bench
