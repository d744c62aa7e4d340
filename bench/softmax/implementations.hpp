// Who computes attention in the benchmarks: we, the Eigen baseline, and the peers this program was built with, each of
// which has a file in peers/ that makes it known.
#pragma once

#include "bench/added.hpp"
#include "bench/softmax/problem.hpp"

#include <attenta/core/isa.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// Computes the output of one copy of the problem that it was prepared for.
using Run = std::function<void(std::size_t copy)>;

struct Implementation {
    std::string_view name;
    /// Whether it computes this work with K and V as the case has them.
    bool (*supports)(const AttendCase& c);
    /// Everything that is done once per shape, outside of the timing.
    Run (*prepare)(const Problem& problem);
    /// The instruction set whose peak it is measured against.
    attenta::Isa (*isa)();
    /// The library's name and version, and what else its speed depends on.
    std::string (*version)();
    bool takes_mask = false;  ///< Problem::mask is heeded
};

/// attenta comes first, what peers have added last.
const std::vector<Implementation>& implementations();

/// Throws std::invalid_argument for an unknown name.
const Implementation& implementation(std::string_view name);

}  // namespace bench
