// A temperature of 2 is half the scale.
#include "temperature.hpp"

#include <attenta/attenta.hpp>

#include <cmath>
#include <cstddef>
#include <vector>

int main() {
    std::vector<float> x(4 * 50 * 32);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
    const auto attend = [&](const attenta::SoftmaxOptions& options) {
        const attenta::Heads<const float> tokens = attenta::hnd(x.data(), 4, 50, 32);
        std::vector<float> o(x.size());
        attenta::softmax_attention(tokens, tokens, tokens, attenta::hnd(o.data(), 4, 50, 32), options);
        return o;
    };
    const std::vector<float> hot = attend({.scale = 1.f, .edits = {edit(Temperature{2})}}),
                             half = attend({.scale = 0.5f});
    for (std::size_t i = 0; i < x.size(); ++i)
        if (!(std::abs(hot[i] - half[i]) < 1e-5f)) return 1;
    return 0;
}
