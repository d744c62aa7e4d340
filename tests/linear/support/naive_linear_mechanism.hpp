// A mechanism of the linear family as the tests see it: how its inputs are drawn, its options one by one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ostream>
#include <variant>
#include <vector>

#include "naive_linear_case.hpp"

namespace attenta_test {

/// Which tensors may have heads of their own.
enum class Grouping {
    any,      ///< q, k and v
    queries,  ///< q; k and v have the same
    state,    ///< x has more than B and C
    none,
};

struct LinearVariant {
    const char* name;
    void (*set)(LinearCase&);
};

struct LinearMechanism {
    const char* name;
    Grouping grouping;
    void (*fill)(LinearCase&);
    std::vector<LinearVariant> variants;  ///< the first is the plain call
};

inline void PrintTo(const LinearMechanism& m, std::ostream* out) { *out << m.name; }

template <class Options>
Options& options_of(LinearCase& c) {
    return std::get<Options>(c.options);
}

inline std::int64_t state_heads(const LinearCase& c) { return std::max(c.shape.Hk, c.shape.Hv); }
inline std::int64_t most_heads(const LinearCase& c) { return std::max(c.shape.Hq, state_heads(c)); }

inline void put_qkv(LinearCase& c, float gain = 1) {
    const LinearShape& s = c.shape;
    c.put_normal("q", Along::queries, s.Hq, s.D, gain);
    c.put_normal("k", Along::keys, s.Hk, s.D);
    c.put_normal("v", Along::keys, s.Hv, s.Dv);
}

/// Changes every number of an input.
template <class F>
void change(LinearCase& c, const char* name, F&& f) {
    const Tensor<float>& x = c.inputs.find(name)->second.tensor;
    x.each_row([&](float* row, std::int64_t, std::int64_t) {
        for (std::int64_t i = 0; i < x.view().dim; ++i) row[i] = f(row[i]);
    });
}

}  // namespace attenta_test
