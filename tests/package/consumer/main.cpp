// Causal attention with grouped heads and a step of linear attention against their definitions; with any argument, a bad
// call.
#include <attenta/attenta.hpp>
#include <attenta/linear.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <random>
#include <vector>

namespace {

constexpr int Hq = 4, Hkv = 2, Tq = 7, Tk = 33, D = 24, Dv = 20;

std::vector<float> normal(int size, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> distribution;
    std::vector<float> x(static_cast<std::size_t>(size));
    for (float& value : x) value = distribution(generator);
    return x;
}

/// Query i of Tq stands at position Tk - Tq + i.
std::vector<double> naive(const float* q, const float* k, const float* v) {
    std::vector<double> o(std::size_t{Hq} * Tq * Dv);
    for (int h = 0; h < Hq; ++h) {
        for (int i = 0; i < Tq; ++i) {
            double* out = &o[static_cast<std::size_t>((h * Tq + i) * Dv)];
            double z = 0;
            for (int j = 0; j <= Tk - Tq + i; ++j) {
                const int kv_row = h / (Hq / Hkv) * Tk + j;
                double s = 0;
                for (int d = 0; d < D; ++d) s += double{q[(h * Tq + i) * D + d]} * double{k[kv_row * D + d]};
                const double p = std::exp(s / std::sqrt(double{D}));
                z += p;
                for (int d = 0; d < Dv; ++d) out[d] += p * double{v[kv_row * Dv + d]};
            }
            for (int d = 0; d < Dv; ++d) out[d] /= z;
        }
    }
    return o;
}

/// The first token of gated linear attention: o = (q·k) v / sqrt(D).
double first_token_error(const float* q, const float* k, const float* v) {
    const float gates[D] = {};
    float o[Dv];
    attenta::LinearState state;
    attenta::gla(
        {attenta::hnd(q, 1, 1, D), attenta::hnd(k, 1, 1, D), attenta::hnd(v, 1, 1, Dv), attenta::hnd(gates, 1, 1, D)},
        attenta::hnd(o, 1, 1, Dv), state);
    double s = 0, error = 0;
    for (int d = 0; d < D; ++d) s += double{q[d]} * double{k[d]} / std::sqrt(double{D});
    for (int d = 0; d < Dv; ++d) error = std::max(error, std::abs(double{o[d]} - s * double{v[d]}));
    return error;
}

}  // namespace

int main(int argc, char**) {
    const int features = argc > 1 ? D + 1 : D;
    const std::vector<float> q = normal(Hq * Tq * D, 1), k = normal(Hkv * Tk * D, 2), v = normal(Hkv * Tk * Dv, 3);
    std::vector<float> o(std::size_t{Hq} * Tq * Dv);
    attenta::softmax_attention(attenta::hnd(q.data(), Hq, Tq, D), attenta::hnd(k.data(), Hkv, Tk, features),
                               attenta::hnd(v.data(), Hkv, Tk, Dv), attenta::hnd(o.data(), Hq, Tq, Dv),
                               {.causal = true});

    const std::vector<double> expected = naive(q.data(), k.data(), v.data());
    double error = first_token_error(q.data(), k.data(), v.data());
    for (std::size_t i = 0; i < o.size(); ++i) error = std::max(error, std::abs(double{o[i]} - expected[i]));
    std::printf("attenta %s on %s: largest error %.1e\n", ATTENTA_VERSION, attenta::name(attenta::active_isa()), error);
    return error < 1e-5 ? 0 : 1;
}
