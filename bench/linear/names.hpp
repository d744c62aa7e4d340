// The names of the benchmarks of linear attention:
//
//   linear/attenta/gla/prefill/H:8/D:128/T:4096/threads:1
//   linear/<impl>/<mechanism>/<prefill|decode>/H:/D:/T:/threads:[/warm]
//   growth/linear/<mechanism>/H:/D:/T:
//
// Values are as wide as keys, Dv = D. `warm` says that the state stays in the cache.
#pragma once

#include "bench/names.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bench {

struct LinearCase {
    std::string impl = "attenta", mechanism = {};
    bool decode = false;
    std::int64_t H = 0, D = 0, T = 0;
    int threads = 1;
    bool warm = false;

    bool operator==(const LinearCase&) const = default;
};

struct GrowthCase {
    std::string mechanism = {};
    std::int64_t H = 0, D = 0, T = 0;

    bool operator==(const GrowthCase&) const = default;
};

/// "/H:8/D:128/T:4096"
inline std::string format_sizes(std::int64_t H, std::int64_t D, std::int64_t T) {
    std::string s;
    s.append("/H:").append(std::to_string(H)).append("/D:").append(std::to_string(D));
    return s.append("/T:").append(std::to_string(T));
}

inline std::string format_name(const LinearCase& c) {
    return "linear/" + c.impl + '/' + c.mechanism + (c.decode ? "/decode" : "/prefill") + format_sizes(c.H, c.D, c.T) +
           "/threads:" + std::to_string(c.threads) + (c.warm ? "/warm" : "");
}

inline std::string format_name(const GrowthCase& c) {
    return "growth/linear/" + c.mechanism + format_sizes(c.H, c.D, c.T);
}

/// Reads what format_sizes wrote into a case; false where it is something else.
template <class Case>
bool take_sizes(NameReader& in, Case& c) {
    const auto H = in.take_number("H"), D = in.take_number("D"), T = in.take_number("T");
    if (!H || !D || !T) return false;
    c.H = *H, c.D = *D, c.T = *T;
    return true;
}

/// The case of a name; empty where it is not the name of such a benchmark.
inline std::optional<LinearCase> parse_linear_name(std::string_view name) {
    NameReader in(name);
    LinearCase c;
    if (!in.take("linear")) return {};
    c.impl = in.next();
    c.mechanism = in.next();
    if (c.impl.empty() || c.mechanism.empty()) return {};
    c.decode = in.take("decode");
    if (!c.decode && !in.take("prefill")) return {};
    if (!take_sizes(in, c)) return {};
    const auto threads = in.take_number("threads");
    if (!threads) return {};
    c.threads = static_cast<int>(*threads);
    c.warm = in.take("warm");
    return in.done() ? std::optional(c) : std::nullopt;
}

inline std::optional<GrowthCase> parse_growth_name(std::string_view name) {
    NameReader in(name);
    GrowthCase c;
    if (!in.take("growth") || !in.take("linear")) return {};
    c.mechanism = in.next();
    if (c.mechanism.empty() || !take_sizes(in, c)) return {};
    return in.done() ? std::optional(c) : std::nullopt;
}

}  // namespace bench
