// All ways live in one program and agree.
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
    const auto run = [&](const char* way, Attend* attend) {
        std::vector<float> o(4 * 7 * 20, NAN);
        std::printf("%s: %s\n", way, attend({q.data(), k.data(), v.data(), o.data()}));
        return o;
    };
    const std::vector<float> library = run("library", attend_library);
    const auto agrees = [&](const char* way, Attend* attend) {
        return std::ranges::equal(library, run(way, attend), [](float a, float b) { return std::abs(a - b) < 1e-5f; });
    };
    bool all = agrees("headers", attend_headers) && agrees("headers, native", attend_native);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) all = agrees("headers, x86-64-v2", attend_v2) && all;
    if (__builtin_cpu_supports("fma")) all = agrees("headers, AVX2 and FMA", attend_avx2) && all;
#endif
    return all ? 0 : 1;
}
