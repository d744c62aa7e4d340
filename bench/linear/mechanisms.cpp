#include "bench/linear/mechanisms.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>
#include <utility>

namespace bench {

std::vector<const attenta::Mechanism*> linear_mechanisms() {
    std::vector<const attenta::Mechanism*> all;
    for (const attenta::Mechanism& m : attenta::mechanisms())
        if (m.linear) all.push_back(&m);
    return all;
}

const attenta::Mechanism& linear_mechanism(std::string_view name) {
    for (const attenta::Mechanism* m : linear_mechanisms())
        if (m->name == name) return *m;
    throw std::invalid_argument("no linear mechanism " + std::string(name));
}

attenta::LinearCall linear_call(const attenta::Mechanism& mechanism) {
    const auto parameters = mechanism.parameters();
    const bool causal = std::any_of(parameters.begin(), parameters.end(),
                                    [](const attenta::Parameter& p) { return p.name == "causal"; });
    return mechanism.linear(causal ? R"({"causal": true})" : "{}");
}

naive::Linear* naive_of(std::string_view name) {
    constexpr std::pair<std::string_view, naive::Linear*> all[] = {{"kernel_linear", naive::kernel_linear},
                                                                   {"performer", naive::performer},
                                                                   {"lightning", naive::lightning},
                                                                   {"retention", naive::retention},
                                                                   {"mamba2", naive::mamba2},
                                                                   {"gla", naive::gla},
                                                                   {"rwkv6", naive::rwkv6},
                                                                   {"hgrn2", naive::hgrn2},
                                                                   {"delta_rule", naive::delta_rule},
                                                                   {"gated_delta_rule", naive::gated_delta_rule},
                                                                   {"kda", naive::kda},
                                                                   {"rwkv7", naive::rwkv7}};
    for (const auto& [known, function] : all)
        if (known == name) return function;
    return nullptr;
}

std::int64_t state_rows(std::string_view mechanism, std::int64_t D) {
    if (mechanism == "based" || mechanism == "fastmax") return 1 + D + D * (D + 1) / 2;
    for (const char* doubles : {"norm_aware", "lrpe", "transnormer", "random_feature_gated"})
        if (mechanism == doubles) return 2 * D;
    return D;
}

double states_passed(std::string_view mechanism, std::int64_t T) {
    double passed = 2 * static_cast<double>(T);
    for (std::int64_t t = 0; mechanism == "log_linear" && t < T; ++t)
        passed += std::popcount(static_cast<std::uint64_t>(t));
    return passed;
}

}  // namespace bench
