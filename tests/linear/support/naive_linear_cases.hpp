// The mechanisms of the linear family, and cases of any shape.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "naive_delta_cases.hpp"
#include "naive_features_cases.hpp"
#include "naive_recurrent_cases.hpp"

namespace attenta_test {

inline const std::vector<LinearMechanism>& linear_mechanisms() {
    static const std::vector<LinearMechanism> all = {
        kernel_linear_mechanism(),
        performer_mechanism(),
        lightning_mechanism(),
        retention_mechanism(),
        mamba2_mechanism(),
        gla_mechanism(),
        rwkv6_mechanism(),
        hgrn2_mechanism(),
        delta_mechanism<attenta::DeltaRuleOptions, false, false>("delta_rule"),
        delta_mechanism<attenta::GatedDeltaRuleOptions, true, false>("gated_delta_rule"),
        delta_mechanism<attenta::KdaOptions, false, true>("kda"),
        rwkv7_mechanism()};
    return all;
}

/// Cosines of a fixed length, so that parts of a sequence measure as the whole does.
inline void fix_length(LinearCase& c) {
    if (auto* kernel = std::get_if<attenta::KernelLinearOptions>(&c.options); kernel && !kernel->cos_max_len)
        kernel->cos_max_len = c.shape.T;
}

/// The heads that `grouping` leaves of a shape's.
inline LinearShape fitting(LinearShape s, Grouping grouping) {
    const std::int64_t most = std::max(s.Hk, s.Hv), least = std::min(s.Hk, s.Hv);
    switch (grouping) {
        case Grouping::any:
            break;
        case Grouping::queries:
            s.Hq = std::max(s.Hq, s.Hk), s.Hv = s.Hk;
            break;
        case Grouping::state:
            s.Hq = s.Hv = most, s.Hk = least;
            break;
        case Grouping::none:
            s.Hq = s.Hk = s.Hv;
            break;
    }
    return s;
}

inline LinearCase linear_case(const LinearMechanism& m, const LinearShape& s, Gates gates, std::size_t variant = 0,
                              bool past = false, std::uint64_t seed = 1, Order order = Order::head_token,
                              std::int64_t pad = 0) {
    LinearCase c(m.name, fitting(s, m.grouping), gates, seed, order, pad);
    m.fill(c);
    m.variants.at(variant).set(c);
    c.words = std::string(", ") + m.variants[variant].name + ", seed " + std::to_string(seed);
    if (past) draw_past(c);
    return c;
}

}  // namespace attenta_test
