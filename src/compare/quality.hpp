// How near the outputs of a mechanism are to exact attention on the same tensors.
#pragma once

#include <attenta/catalog.hpp>

#include <cstdint>
#include <optional>
#include <string>

#include "setup.hpp"

namespace compare {

struct Quality {
    std::optional<double> error;  ///< |o − o of exact attention| / |o of exact attention|
    std::optional<double> mass;   ///< mean share of the exact attention that falls on the keys that are read
};

/// The tensor of this name, or null.
const attenta::Tensor* find(const attenta::Tensors& tensors, const std::string& name);

/// Of outputs o [Hq, Tq, Dv] and lse [Hq, Tq] of the setup's last Tq queries; nothing of other outputs, and of mechanisms that
/// do not approximate softmax.
Quality quality_of(const Setup& setup, const attenta::Tensors& outputs);
/// The error of o [steps, Hq, Dv] of the last queries.
std::optional<double> error_of_steps(const Setup& setup, std::int64_t steps, const attenta::Tensor& o);
/// Of the exact attention of the last query, the share that falls on the positions `kept` [Hkv, width]; those below 0 are none.
double mass_of_kept(const Setup& setup, const attenta::Tensor& kept);

}  // namespace compare
