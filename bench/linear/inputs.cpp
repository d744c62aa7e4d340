#include "bench/linear/inputs.hpp"

#include <attenta/linear/retention.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <random>

namespace bench {
namespace {

/// The next standard normal value of a long period.
float normal() {
    static const std::vector<float> values = [] {
        std::vector<float> x((std::size_t{1} << 20) - 3);
        std::mt19937 random(3);
        std::normal_distribution<float> draw;
        for (float& value : x) value = draw(random);
        return x;
    }();
    static std::size_t next = 0;
    if (next == values.size()) next = 0;
    return values[next++];
}

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }
/// The gate of GLA.
float log_gate() { return -std::log1p(std::exp(-normal())) / 16; }

void make_unit(attenta::Heads<float> x) {
    for (std::int64_t t = 0; t < x.tokens; ++t)
        for (std::int64_t h = 0; h < x.heads; ++h) {
            float* row = x.row(h, t);
            float squares = 0;
            for (std::int64_t d = 0; d < x.dim; ++d) squares += row[d] * row[d];
            for (std::int64_t d = 0; d < x.dim; ++d) row[d] /= std::sqrt(squares);
        }
}

}  // namespace

LinearInputs LinearInputs::first(std::int64_t count) const {
    LinearInputs x = *this;
    for (attenta::Heads<const float>* tensor : {&x.q, &x.k, &x.v, &x.g, &x.g_token, &x.beta, &x.dt, &x.a, &x.b})
        *tensor = tensor->slice(0, count);
    return x;
}

LinearProblem::LinearProblem(std::int64_t H, std::int64_t T, std::int64_t D)
    : H_(H), memory_(static_cast<std::size_t>(H * (T * (7 * D + 3) + D)) * sizeof(float)) {
    const auto heads = static_cast<std::size_t>(H);
    inputs_.q = draw(T, D, normal);
    const attenta::Heads<float> k = draw(T, D, normal);
    make_unit(k);
    inputs_.k = k;
    inputs_.v = draw(T, D, normal);
    inputs_.g = draw(T, D, log_gate);
    inputs_.g_token = draw(T, 1, log_gate);
    inputs_.beta = draw(T, 1, [] { return sigmoid(normal()); });
    inputs_.dt = draw(T, 1, [] { return normal() - 3; });
    const float* key = k.data;  // in the same order as a and b are drawn
    inputs_.a = draw(T, D, [&] { return -*key++; });
    key = k.data;
    inputs_.b = draw(T, D, [&] { return *key++ * sigmoid(normal()); });
    inputs_.u = draw(1, D, normal);
    o_ = draw(T, D, [] { return 0.0f; });

    g_head_ = attenta::retention_decay(H);
    inputs_.g_head = attenta::hnd<const float>(g_head_.data(), H, 1, 1);
    features_.resize(static_cast<std::size_t>(D * D));
    std::generate(features_.begin(), features_.end(), normal);
    inputs_.features = {features_.data(), 1, D, D};
    for (std::size_t h = 0; h < heads; ++h) A_.push_back(-1 - static_cast<float>(h));
    inputs_.A = A_;
    key_max_.assign(heads, 2.0f);  // the projections of keys of length 1 stay near it
    inputs_.key_max = key_max_;
    for (std::int64_t i = 0; i < D / 2; ++i)
        theta_.push_back(std::pow(10000.0f, -static_cast<float>(i) / static_cast<float>(D / 2 - 1)));
    inputs_.theta = theta_;
}

template <class F>
attenta::Heads<float> LinearProblem::draw(std::int64_t tokens, std::int64_t dim, const F& value) {
    float* data = reinterpret_cast<float*>(memory_.data()) + used_;
    const std::int64_t size = tokens * H_ * dim;
    std::generate_n(data, size, [&] { return value(); });
    used_ += size;
    return attenta::nhd(data, tokens, H_, dim);
}

}  // namespace bench
