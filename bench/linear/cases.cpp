#include "bench/linear/cases.hpp"

#include "bench/linear/implementations.hpp"
#include "bench/linear/mechanisms.hpp"

#include <string_view>

namespace bench {

std::vector<LinearCase> linear_cases() {
    const LinearCase shapes[] = {
        {.H = 8, .D = 128, .T = 4096},
        {.H = 8, .D = 64, .T = 1024},
        {.decode = true, .H = 32, .D = 128, .T = 1},
        {.decode = true, .H = 32, .D = 128, .T = 1, .warm = true},
    };
    std::vector<LinearCase> cases;
    const auto add = [&](LinearCase c, std::string_view mechanism, std::string_view impl) {
        c.mechanism = mechanism;
        c.impl = impl;
        cases.push_back(c);
    };
    for (const LinearCase& shape : shapes)
        for (const attenta::Mechanism* m : linear_mechanisms()) {
            LinearCase c = shape;
            if (state_rows(m->name, c.D) > 2 * c.D) c.D = 16;  // states that grow with its square are of narrow keys
            for (const LinearImplementation& by : linear_implementations())
                if (by.supports(m->name)) add(c, m->name, by.name);
        }
    // How threads share the heads, and a single one.
    for (const char* mechanism : {"lightning", "gla", "gated_delta_rule", "rwkv7"}) {
        add({.H = 8, .D = 128, .T = 4096, .threads = 2}, mechanism, "attenta");
        for (const int threads : {1, 2}) add({.H = 1, .D = 128, .T = 8192, .threads = threads}, mechanism, "attenta");
    }
    return cases;
}

std::vector<GrowthCase> growth_cases() {
    std::vector<GrowthCase> cases;
    for (const char* mechanism : {"gla", "kernel_linear", "gated_delta_rule"})
        for (const std::int64_t T : {1024, 4096, 16384, 65536, 262144})
            cases.push_back({.mechanism = mechanism, .H = 8, .D = 128, .T = T});
    return cases;
}

}  // namespace bench
