// The three ways live in one program and agree.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <random>
#include <vector>

#include "attend.hpp"

namespace {

std::vector<float> normal(std::size_t size, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> distribution;
    std::vector<float> x(size);
    for (float& value : x) value = distribution(generator);
    return x;
}

}  // namespace

int main() {
    const std::vector<float> q = normal(4 * 7 * 24, 1), k = normal(2 * 33 * 24, 2), v = normal(2 * 33 * 20, 3);
    const auto run = [&](const char* way, const char* (*attend)(const Arrays&)) {
        std::vector<float> o(4 * 7 * 20, NAN);
        std::printf("%s: %s\n", way, attend({q.data(), k.data(), v.data(), o.data()}));
        return o;
    };
    const std::vector<float> library = run("library", attend_library);
    const std::vector<float> headers = run("headers", attend_headers);
    const std::vector<float> native = run("headers, native", attend_headers_native);

    const auto agree = [](float a, float b) { return std::abs(a - b) < 1e-5f; };
    return std::ranges::equal(library, headers, agree) && std::ranges::equal(library, native, agree) ? 0 : 1;
}
