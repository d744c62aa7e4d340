#include "bench/linear/naive_eigen.hpp"

#include <Eigen/Core>

#include <cmath>
#include <cstdint>
#include <utility>

namespace bench::naive {
namespace {

using attenta::Heads;
using attenta::LinearState;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXf;
using State = Eigen::Map<Matrix>;
using In = Eigen::Map<const Vector>;
using Out = Eigen::Map<Vector>;

In at(Heads<const float> x, std::int64_t h, std::int64_t t) { return {x.row(h, t), x.dim}; }

/// step(S, h, t, y) for every head and token; y is the row of the output.
template <class Step>
void each_token(Heads<float> o, LinearState& state, const Step& step) {
    for (std::int64_t h = 0; h < o.heads; ++h) {
        State S(state.of(h), state.dim, state.dim_v);
        for (std::int64_t t = 0; t < o.tokens; ++t) step(S, h, t, Out(o.row(h, t), o.dim));
    }
}

Out normalizer(LinearState& state, std::int64_t h) { return {state.normalizer.data() + h * state.dim, state.dim}; }

void decay_rows(State& S, const Vector& factors) { S.noalias() = factors.asDiagonal() * S; }

float default_scale(const Inputs& x) { return 1 / std::sqrt(static_cast<float>(x.q.dim)); }

/// x + 1 above 0, exp(x) below; a select would not be vectorised.
Vector elu1(const In& x) { return x.array().max(0) + x.array().min(0).exp(); }

/// Pairs (2i, 2i + 1) turned by the angles of a token.
Vector rotated(const In& x, const Eigen::ArrayXf& cos, const Eigen::ArrayXf& sin) {
    using Half = Eigen::Map<const Eigen::ArrayXf, 0, Eigen::InnerStride<2>>;
    using OutHalf = Eigen::Map<Eigen::ArrayXf, 0, Eigen::InnerStride<2>>;
    const Half even(x.data(), x.size() / 2), odd(x.data() + 1, x.size() / 2);
    Vector y(x.size());
    OutHalf(y.data(), y.size() / 2) = even * cos - odd * sin;
    OutHalf(y.data() + 1, y.size() / 2) = odd * cos + even * sin;
    return y;
}

/// S ← S + β k (v − Sᵀ k)ᵀ
void correct(State& S, const In& k, const In& v, float beta) {
    const Vector error = v - S.transpose() * k;
    S.noalias() += (beta * k) * error.transpose();
}

}  // namespace

Inputs::Inputs(const attenta::NamedInputs& named) {
    const auto take = [&](const char* name, Heads<const float>& x) {
        if (const auto found = named.find(name); found != named.end()) x = found->second;
    };
    const std::pair<const char*, Heads<const float>*> all[] = {{"q", &q},
                                                               {"C", &q},
                                                               {"k", &k},
                                                               {"B", &k},
                                                               {"v", &v},
                                                               {"x", &v},
                                                               {"g", &g},
                                                               {"beta", &beta},
                                                               {"a", &a},
                                                               {"b", &b},
                                                               {"u", &u},
                                                               {"dt", &dt},
                                                               {"A", &A},
                                                               {"projection", &projection},
                                                               {"key_max", &key_max},
                                                               {"theta", &theta}};
    for (const auto& [name, x] : all) take(name, *x);
}

void kernel_linear(const Inputs& x, Heads<float> o, LinearState& state) {
    each_token(o, state, [&](State& S, auto h, auto t, Out y) {
        const Vector q = elu1(at(x.q, h, t)), k = elu1(at(x.k, h, t));
        Out z = normalizer(state, h);
        S.noalias() += k * at(x.v, h, t).transpose();
        z += k;
        y.noalias() = S.transpose() * q / (q.dot(z) + 1e-6f);
    });
}

void performer(const Inputs& x, Heads<float> o, LinearState& state) {
    const Eigen::Map<const Matrix> W(x.projection.data, x.projection.heads, x.projection.dim);
    const float c = std::pow(static_cast<float>(W.cols()), -0.25f);
    const float r = 1 / std::sqrt(static_cast<float>(W.rows()));
    each_token(o, state, [&](State& S, auto h, auto t, Out y) {
        const In q = at(x.q, h, t), k = at(x.k, h, t);
        Vector fq = c * (W * q), fk = c * (W * k);
        const float top = fq.maxCoeff() + c * c * q.squaredNorm() / 2;
        const float key_top = x.key_max.data[h] + c * c * k.squaredNorm() / 2;
        fq = r * ((fq.array() - top).exp() + 1e-6f);
        fk = r * ((fk.array() - key_top).exp() + 1e-6f);
        Out z = normalizer(state, h);
        S.noalias() += fk * at(x.v, h, t).transpose();
        z += fk;
        y.noalias() = S.transpose() * fq / fq.dot(z);
    });
}

void lightning(const Inputs& x, Heads<float> o, LinearState& state) {
    each_token(o, state, [&](State& S, auto h, auto t, Out y) {
        S *= std::exp(x.g.row(h, 0)[0]);
        S.noalias() += at(x.k, h, t) * at(x.v, h, t).transpose();
        y.noalias() = S.transpose() * at(x.q, h, t);
    });
}

void retention(const Inputs& x, Heads<float> o, LinearState& state) {
    using Angles = Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const auto half = static_cast<Eigen::Index>(x.theta.heads);
    const Eigen::RowVectorXf theta = Eigen::Map<const Eigen::RowVectorXf>(x.theta.data, half);
    const Angles angles = Vector::LinSpaced(o.tokens, 0, static_cast<float>(o.tokens - 1)) * theta;
    const Angles cos = angles.cos(), sin = angles.sin();
    each_token(o, state, [&](State& S, auto h, auto t, Out y) {
        const Vector q = rotated(at(x.q, h, t), cos.row(t), sin.row(t));
        const Vector k = rotated(at(x.k, h, t), cos.row(t), sin.row(t)) * default_scale(x);
        S *= std::exp(x.g.row(h, 0)[0]);
        S.noalias() += k * at(x.v, h, t).transpose();
        y.noalias() = S.transpose() * q;
    });
}

void mamba2(const Inputs& x, Heads<float> o, LinearState& state) {
    each_token(o, state, [&](State& S, auto h, auto t, Out y) {
        const float dt = std::log1p(std::exp(x.dt.row(h, t)[0]));
        S *= std::exp(dt * x.A.data[h]);
        S.noalias() += at(x.k, 0, t) * (dt * at(x.v, h, t)).transpose();
        y.noalias() = S.transpose() * at(x.q, 0, t);
    });
}

void gla(const Inputs& x, Heads<float> o, LinearState& state) {
    each_token(o, state, [&](State& S, auto h, auto t, Out y) {
        decay_rows(S, at(x.g, h, t).array().exp());
        S.noalias() += at(x.k, h, t) * at(x.v, h, t).transpose();
        y.noalias() = default_scale(x) * S.transpose() * at(x.q, h, t);
    });
}

void rwkv6(const Inputs& x, Heads<float> o, LinearState& state) {
    each_token(o, state, [&](State& S, auto h, auto t, Out y) {
        const In q = at(x.q, h, t), k = at(x.k, h, t), v = at(x.v, h, t);
        y.noalias() = S.transpose() * q;
        y += (q.array() * at(x.u, h, 0).array() * k.array()).sum() * v;
        decay_rows(S, at(x.g, h, t).array().exp());
        S.noalias() += k * v.transpose();
    });
}

void hgrn2(const Inputs& x, Heads<float> o, LinearState& state) {
    each_token(o, state, [&](State& S, auto h, auto t, Out y) {
        const Vector gate = at(x.g, h, t).array().exp(), k = -at(x.g, h, t).array().expm1();
        decay_rows(S, gate);
        S.noalias() += k * at(x.v, h, t).transpose();
        y.noalias() = S.transpose() * at(x.q, h, t);
    });
}

void delta_rule(const Inputs& x, Heads<float> o, LinearState& state) {
    each_token(o, state, [&](State& S, auto h, auto t, Out y) {
        correct(S, at(x.k, h, t), at(x.v, h, t), x.beta.row(h, t)[0]);
        y.noalias() = default_scale(x) * S.transpose() * at(x.q, h, t);
    });
}

void gated_delta_rule(const Inputs& x, Heads<float> o, LinearState& state) {
    each_token(o, state, [&](State& S, auto h, auto t, Out y) {
        S *= std::exp(x.g.row(h, t)[0]);
        correct(S, at(x.k, h, t), at(x.v, h, t), x.beta.row(h, t)[0]);
        y.noalias() = default_scale(x) * S.transpose() * at(x.q, h, t);
    });
}

void kda(const Inputs& x, Heads<float> o, LinearState& state) {
    each_token(o, state, [&](State& S, auto h, auto t, Out y) {
        decay_rows(S, at(x.g, h, t).array().exp());
        correct(S, at(x.k, h, t), at(x.v, h, t), x.beta.row(h, t)[0]);
        y.noalias() = default_scale(x) * S.transpose() * at(x.q, h, t);
    });
}

void rwkv7(const Inputs& x, Heads<float> o, LinearState& state) {
    each_token(o, state, [&](State& S, auto h, auto t, Out y) {
        const Vector old = S.transpose() * at(x.a, h, t);
        decay_rows(S, at(x.g, h, t).array().exp());
        S.noalias() += at(x.b, h, t) * old.transpose();
        S.noalias() += at(x.k, h, t) * at(x.v, h, t).transpose();
        y.noalias() = S.transpose() * at(x.q, h, t);
    });
}

void scale(std::span<float> x, float factor) {
    Eigen::Map<Eigen::ArrayXf>(x.data(), static_cast<Eigen::Index>(x.size())) *= factor;
}

}  // namespace bench::naive
