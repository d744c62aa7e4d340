// A score edit of one's own, twice: as a kernel that attenta compiles for every instruction set, and as a plain lambda.
#include "own_score_edit.hpp"

#include <attenta/attenta.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <vector>

namespace {

std::vector<float> waves(std::size_t n, float step) {
    std::vector<float> x(n);
    for (std::size_t i = 0; i < n; ++i) x[i] = std::sin(step * static_cast<float>(i));
    return x;
}

}  // namespace

int main() {
    constexpr int heads = 4, tokens = 1024, dim = 64;
    const auto q = waves(heads * tokens * dim, 0.37f), k = waves(heads * tokens * dim, 0.71f),
               v = waves(heads * tokens * dim, 0.13f);
    const auto view = [](const std::vector<float>& x) { return attenta::hnd(x.data(), heads, tokens, dim); };
    const LateDecay decay{.rate = 0.01f, .grace = 64};

    const auto run = [&](const char* what, const attenta::ScoreEdits& edits) {
        std::vector<float> o(q.size());
        double best = 1e9;
        for (int again = 0; again < 5; ++again) {
            const auto start = std::chrono::steady_clock::now();
            attenta::softmax_attention(view(q), view(k), view(v), attenta::hnd(o.data(), heads, tokens, dim),
                                       {.causal = true, .edits = edits});
            const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
            best = std::min(best, time.count());
        }
        std::printf("%-42s %8.2f ms\n", what, best);
        return o;
    };

    run("no edit", {});
    const auto a = run("a kernel, compiled for every ISA", {edit(decay)});
    const auto b = run("a lambda, element by element", {attenta::edit([decay](attenta::ScoreTile& t) {
                           for (std::int64_t r = 0; r < t.rows; ++r)
                               for (std::int64_t i = 0; i < t.keys.count; ++i) {
                                   const auto distance = static_cast<float>(t.row[r].position - t.keys.position(i));
                                   t.s[r * t.stride + i] -= decay.rate * std::max(distance - decay.grace, 0.f);
                               }
                       })});

    float worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
    std::printf("largest difference %.1e\n", static_cast<double>(worst));
    return worst < 1e-5f ? 0 : 1;
}
