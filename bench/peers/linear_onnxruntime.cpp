// onnxruntime's operator LinearAttention: states [keys, values] and logarithms of gates as ours.
#include "bench/linear/implementations.hpp"
#include "bench/peers/onnxruntime_model.hpp"
#include "bench/ruler/roofline.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace bench {
namespace {

using attenta::Heads;
using ort::Model, ort::Shape;

const char* rule_of(std::string_view mechanism) {
    if (mechanism == "gla" || mechanism == "mamba2") return "gated";
    if (mechanism == "delta_rule") return "delta";
    return mechanism == "gated_delta_rule" || mechanism == "kda" ? "gated_delta" : nullptr;
}

/// What the operator takes for Mamba-2: queries of every head, values times their steps, gates.
struct OfMamba2 {
    explicit OfMamba2(const attenta::NamedInputs& in) {
        const Heads<const float> x = in.at("x"), dt = in.at("dt"), A = in.at("A"), C = in.at("C");
        for (std::int64_t t = 0; t < x.tokens; ++t)
            for (std::int64_t h = 0; h < x.heads; ++h) {
                const float step = std::log1p(std::exp(*dt.row(h, t)));
                decay.push_back(step * *A.row(h, 0));
                q.insert(q.end(), C.row(0, t), C.row(0, t) + C.dim);
                std::transform(x.row(h, t), x.row(h, t) + x.dim, std::back_inserter(v),
                               [step](float value) { return step * value; });
            }
    }
    std::vector<float> q, v, decay;
};

class LinearAttention {
public:
    LinearAttention(std::string_view mechanism, const attenta::NamedInputs& in, int threads) {
        const bool is_mamba = mechanism == "mamba2";
        const Heads<const float> v = in.at(is_mamba ? "x" : "v"), k = in.at(is_mamba ? "B" : "k");
        const std::string rule = rule_of(mechanism);
        H_ = v.heads, T_ = v.tokens, Dv_ = v.dim, D_ = k.dim;
        k_ = k.data, key_heads_ = k.heads;
        if (is_mamba) {
            mamba2_ = std::make_unique<OfMamba2>(in);
            q_ = mamba2_->q.data(), v_ = mamba2_->v.data(), decay_ = mamba2_->decay.data();
        } else {
            q_ = in.at("q").data, v_ = v.data;
            if (const auto g = in.find("g"); g != in.end()) decay_ = g->second.data, per_key_ = g->second.dim == D_;
            if (const auto beta = in.find("beta"); beta != in.end()) beta_ = beta->second.data;
        }
        constexpr onnx::Type f32 = onnx::Type::f32;
        const auto heads = static_cast<std::uint64_t>(H_);
        onnx::Node node{.op = "LinearAttention",
                        .attributes = {{"q_num_heads", heads}, {"kv_num_heads", heads}, {"update_rule", rule}},
                        .inputs = {{"q", f32}, {"k", f32}, {"v", f32}, {"past", f32}, {"", f32}, {"", f32}},
                        .outputs = {{"o", f32}, {"present", f32}}};
        if (is_mamba) node.attributes.emplace_back("scale", 1.0f);
        if (decay_) node.inputs[4].name = "decay";
        if (beta_) node.inputs[5].name = "beta";
        while (node.inputs.back().name.empty()) node.inputs.pop_back();
        session_ = std::make_unique<Model>(node, threads);
    }

    const float* operator()(Heads<float> o, attenta::LinearState& state) {
        if (state.empty()) state = attenta::LinearState(H_, D_, Dv_);
        session_->input(q_, {1, T_, H_ * D_});
        session_->input(k_, {1, T_, key_heads_ * D_});
        session_->input(v_, {1, T_, H_ * Dv_});
        session_->input(state.matrix.data(), {1, H_, D_, Dv_});
        if (decay_) session_->input(decay_, {1, T_, per_key_ ? H_ * D_ : H_});
        if (beta_) session_->input(beta_, {1, T_, H_});
        session_->output(o.data, {1, T_, H_ * Dv_});
        session_->output(state.matrix.data(), {1, H_, D_, Dv_});
        session_->run();
        return o.data;
    }

private:
    std::int64_t H_, T_, D_, Dv_, key_heads_;
    const float *q_, *k_, *v_, *decay_ = nullptr, *beta_ = nullptr;
    bool per_key_ = false;
    std::unique_ptr<OfMamba2> mamba2_;
    std::unique_ptr<Model> session_;
};

RunLinear prepare(std::string_view mechanism, const attenta::NamedInputs& in, int threads) {
    const auto peer = std::make_shared<LinearAttention>(mechanism, in, threads);
    return [peer](Heads<float> o, attenta::LinearState& state) { return (*peer)(o, state); };
}

const Added<LinearImplementation> onnxruntime({"onnxruntime",
                                               [](std::string_view mechanism) { return rule_of(mechanism) != nullptr; },
                                               prepare, widest_isa, true});

}  // namespace
}  // namespace bench
