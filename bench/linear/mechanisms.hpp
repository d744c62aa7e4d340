// The mechanisms of the benchmarks of linear attention: all of the catalog.
#pragma once

#include "bench/linear/naive_eigen.hpp"

#include <attenta/catalog.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace bench {

std::vector<const attenta::Mechanism*> linear_mechanisms();

/// Throws std::invalid_argument for an unknown name.
const attenta::Mechanism& linear_mechanism(std::string_view name);

/// The library's function, causal, with the options that the baseline implements.
attenta::LinearCall linear_call(const attenta::Mechanism& mechanism);

/// Null where there is no baseline.
naive::Linear* naive_of(std::string_view name);

/// Rows of a head's state where keys have D features, of log_linear's one for each level.
std::int64_t state_rows(std::string_view mechanism, std::int64_t D);

/// How often T tokens pass over a state in the recurrent form: once to take the token up and once to read; log_linear reads
/// all levels that hold something.
double states_passed(std::string_view mechanism, std::int64_t T);

}  // namespace bench
