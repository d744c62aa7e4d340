#include "bench/linear/inputs.hpp"

#include <attenta/linear/decay/retention.hpp>

#include <cmath>
#include <cstddef>
#include <random>
#include <string_view>
#include <vector>

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

template <class F>
void each_row(attenta::Heads<float> x, const F& f) {
    for (std::int64_t t = 0; t < x.tokens; ++t)
        for (std::int64_t h = 0; h < x.heads; ++h) f(x.row(h, t), h, t);
}

/// x[h, t, d] = value(h, t, d)
template <class F>
void fill(attenta::Heads<float> x, const F& value) {
    each_row(x, [&](float* row, std::int64_t h, std::int64_t t) {
        for (std::int64_t d = 0; d < x.dim; ++d) row[d] = value(h, t, d);
    });
}

void make_unit(attenta::Heads<float> x) {
    each_row(x, [&](float* row, std::int64_t, std::int64_t) {
        float squares = 0;
        for (std::int64_t d = 0; d < x.dim; ++d) squares += row[d] * row[d];
        for (std::int64_t d = 0; d < x.dim; ++d) row[d] /= std::sqrt(squares);
    });
}

/// Levels of log_linear: enough for 32768 tokens.
constexpr std::int64_t levels = 16;

struct Sizes {
    std::int64_t heads, tokens, dim;
    std::int64_t count() const { return heads * tokens * dim; }
};

Sizes sizes_of(const attenta::Input& input, std::int64_t H, std::int64_t T, std::int64_t D) {
    const attenta::ShapeLetters letters = input.letters();
    return {letters.heads == "G"     ? 1
            : letters.heads == "M"   ? D
            : letters.heads == "D/2" ? D / 2
                                     : H,
            letters.tokens.empty()   ? 1
            : letters.tokens == "TM" ? D
                                     : T,
            letters.dim.empty()  ? 1
            : letters.dim == "L" ? levels
                                 : D};
}

/// Optional inputs that models have.
bool is_drawn(const attenta::Input& input) {
    const std::string_view name = input.name;
    return !(input.flags & attenta::Input::optional) || name == "g" || name == "key_max" || name == "theta";
}

}  // namespace

LinearProblem::LinearProblem(const attenta::Mechanism& mechanism, std::int64_t H, std::int64_t T, std::int64_t D)
    : H_(H), T_(T), D_(D) {
    std::int64_t count = H * T * D;
    for (const attenta::Input& input : mechanism.list())
        if (is_drawn(input)) count += sizes_of(input, H, T, D).count();
    memory_ = HugeBuffer(static_cast<std::size_t>(count) * sizeof(float));
    for (const attenta::Input& input : mechanism.list())
        if (is_drawn(input)) draw(input);
    o_ = take(H, T, D);
    fill(o_, [](auto...) { return 0.0f; });
}

attenta::NamedInputs LinearProblem::first(std::int64_t count) const {
    attenta::NamedInputs x = inputs_;
    for (auto& [name, tensor] : x)
        if (tensor.tokens == T_) tensor = tensor.slice(0, count);
    return x;
}

attenta::Heads<float> LinearProblem::take(std::int64_t heads, std::int64_t tokens, std::int64_t dim) {
    float* const data = reinterpret_cast<float*>(memory_.data()) + used_;
    used_ += heads * tokens * dim;
    return attenta::nhd(data, tokens, heads, dim);
}

/// As models have them, by name: keys of length 1, gates of GLA and RetNet, transitions of a trained RWKV-7.
void LinearProblem::draw(const attenta::Input& input) {
    const std::string_view name = input.name;
    const Sizes sizes = sizes_of(input, H_, T_, D_);
    const attenta::Heads<float> x = take(sizes.heads, sizes.tokens, sizes.dim);
    if (name == "g" && input.letters().tokens.empty()) {
        const std::vector<float> decay = attenta::retention_decay(H_);
        fill(x, [&](std::int64_t h, auto...) { return decay[static_cast<std::size_t>(h)]; });
    } else if (input.flags & attenta::Input::gate) {
        fill(x, [](auto...) { return log_gate(); });
    } else if (name == "beta") {
        fill(x, [](auto...) { return sigmoid(normal()); });
    } else if (name == "dt") {
        fill(x, [](auto...) { return normal() - 3; });
    } else if (name == "ridge") {
        fill(x, [](auto...) { return 1 + std::abs(normal()); });
    } else if (name == "A") {
        fill(x, [](std::int64_t h, auto...) { return -1 - static_cast<float>(h); });
    } else if (name == "key_max") {
        fill(x, [](auto...) { return 2.0f; });  // the projections of keys of length 1 stay near it
    } else if (name == "theta") {
        fill(x, [&](std::int64_t i, auto...) {
            return std::pow(10000.0f, -static_cast<float>(i) / static_cast<float>(D_ / 2 - 1));
        });
    } else if (name == "a" || name == "b") {
        const attenta::Heads<const float> k = inputs_.at("k");
        const bool rate = name == "b";
        fill(x, [&](std::int64_t h, std::int64_t t, std::int64_t d) {
            return rate ? k.row(h, t)[d] * sigmoid(normal()) : -k.row(h, t)[d];
        });
    } else {
        fill(x, [](auto...) { return normal(); });
        if (name == "k" || name == "B") make_unit(x);
    }
    inputs_.insert_or_assign(input.name, attenta::Heads<const float>(x));
}

}  // namespace bench
