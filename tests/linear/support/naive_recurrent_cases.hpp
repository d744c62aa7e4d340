// Inputs and options of gla, hgrn2, rwkv6, lightning, retention, mamba2.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "naive_linear_mechanism.hpp"

namespace attenta_test {

inline LinearMechanism gla_mechanism() {
    using Options = attenta::GlaOptions;
    const auto fill = [](LinearCase& c) {
        c.options = Options{};
        put_qkv(c);
        c.put_gates("g", Along::keys, state_heads(c), c.shape.D);
    };
    return {"gla",
            Grouping::any,
            fill,
            {{"plain", [](LinearCase&) {}},
             {"a gate per token", [](LinearCase& c) { c.put_gates("g", Along::keys, state_heads(c), 1); }},
             {"constant gates", [](LinearCase& c) { c.put_gates("g", Along::nothing, state_heads(c), 1); }},
             {"no gates", [](LinearCase& c) { c.inputs.erase("g"); }},
             {"value gates", [](LinearCase& c) { c.put_gates("gv", Along::keys, state_heads(c), c.shape.Dv); }},
             {"value gates alone",
              [](LinearCase& c) {
                  c.inputs.erase("g");
                  c.put_gates("gv", Along::keys, state_heads(c), c.shape.Dv);
              }},
             {"value gates, a gate per token",
              [](LinearCase& c) {
                  c.put_gates("g", Along::keys, state_heads(c), 1);
                  c.put_gates("gv", Along::keys, state_heads(c), c.shape.Dv);
              }},
             {"scale -0.7", [](LinearCase& c) { options_of<Options>(c).scale = -0.7f; }},
             {"scale 0", [](LinearCase& c) { options_of<Options>(c).scale = 0.0f; }}}};
}

inline LinearMechanism hgrn2_mechanism() {
    using Options = attenta::Hgrn2Options;
    const auto fill = [](LinearCase& c) {
        c.options = Options{};
        put_qkv(c);
        c.inputs.erase("k");
        c.put_gates("g", Along::keys, c.shape.Hk, c.shape.D);
    };
    return {"hgrn2",
            Grouping::none,
            fill,
            {{"plain", [](LinearCase&) {}},
             {"scale -0.5", [](LinearCase& c) { options_of<Options>(c).scale = -0.5f; }},
             {"keys that 1 - exp g would lose, scale 100", [](LinearCase& c) {
                  options_of<Options>(c).scale = 100;
                  change(c, "g", [](float g) { return std::max(1e-5f * g, -1e-5f); });
              }}}};
}

inline LinearMechanism rwkv6_mechanism() {
    using Options = attenta::Rwkv6Options;
    const auto fill = [](LinearCase& c) {
        c.options = Options{};
        put_qkv(c);
        c.put_gates("g", Along::keys, c.shape.Hk, c.shape.D);
        c.put_normal("u", Along::nothing, c.shape.Hk, c.shape.D);
    };
    return {"rwkv6",
            Grouping::none,
            fill,
            {{"plain", [](LinearCase&) {}},
             {"scale 0.25", [](LinearCase& c) { options_of<Options>(c).scale = 0.25f; }},
             {"no bonus", [](LinearCase& c) { change(c, "u", [](float) { return 0.0f; }); }}}};
}

inline LinearMechanism lightning_mechanism() {
    using Options = attenta::LightningOptions;
    const auto fill = [](LinearCase& c) {
        c.options = Options{};
        put_qkv(c);
    };
    return {"lightning",
            Grouping::any,
            fill,
            {{"plain", [](LinearCase&) {}},
             {"given decay", [](LinearCase& c) { c.put_gates("g", Along::nothing, state_heads(c), 1); }},
             {"a given decay for each query head",
              [](LinearCase& c) { c.put_gates("g", Along::nothing, most_heads(c), 1); }},
             {"layer 1 of 4",
              [](LinearCase& c) { options_of<Options>(c).layer = 1, options_of<Options>(c).num_layers = 4; }},
             {"the last layer",
              [](LinearCase& c) { options_of<Options>(c).layer = 3, options_of<Options>(c).num_layers = 4; }},
             {"linear slopes", [](LinearCase& c) { options_of<Options>(c).slopes = attenta::LightningSlopes::linear; }},
             {"linear slopes, layer 2 of 8",
              [](LinearCase& c) {
                  options_of<Options>(c).slopes = attenta::LightningSlopes::linear;
                  options_of<Options>(c).layer = 2, options_of<Options>(c).num_layers = 8;
              }},
             {"scale -0.5", [](LinearCase& c) { options_of<Options>(c).scale = -0.5f; }}}};
}

/// The model's angles; none for an odd width.
inline void put_theta(LinearCase& c) {
    const std::int64_t n = c.shape.D / 2;
    if (c.shape.D % 2 != 0) return;
    std::vector<float> theta;
    for (std::int64_t i = 0; i < n; ++i)
        theta.push_back(static_cast<float>(
            std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(std::max<std::int64_t>(n - 1, 1)))));
    c.put_array("theta", 1, n, theta);
}

inline LinearMechanism retention_mechanism() {
    using Options = attenta::RetentionOptions;
    using attenta::RetentionNorm;
    const auto fill = [](LinearCase& c) {
        c.options = Options{};
        put_qkv(c);
    };
    return {
        "retention",
        Grouping::any,
        fill,
        {{"plain", [](LinearCase&) {}},
         {"rotated", [](LinearCase& c) { put_theta(c); }},
         {"rotated far from the origin", [](LinearCase& c) { put_theta(c), options_of<Options>(c).offset = 20011; }},
         {"decay norm", [](LinearCase& c) { options_of<Options>(c).score_norm = RetentionNorm::decay; }},
         {"full norm, rotated",
          [](LinearCase& c) { put_theta(c), options_of<Options>(c).score_norm = RetentionNorm::full; }},
         {"given decay, full norm",
          [](LinearCase& c) {
              c.put_gates("g", Along::nothing, state_heads(c), 1);
              options_of<Options>(c).score_norm = RetentionNorm::full;
          }},
         {"a given decay for each query head, decay norm",
          [](LinearCase& c) {
              c.put_gates("g", Along::nothing, most_heads(c), 1);
              options_of<Options>(c).score_norm = RetentionNorm::decay;
          }},
         {"given decay", [](LinearCase& c) { c.put_gates("g", Along::nothing, state_heads(c), 1); }},
         {"scale -0.3", [](LinearCase& c) { options_of<Options>(c).scale = -0.3f; }}}};
}

inline LinearMechanism mamba2_mechanism() {
    using Options = attenta::Mamba2Options;
    // dt A is what a gate is elsewhere: about -0.1, -20, far below any float, 0.
    const auto fill = [](LinearCase& c) {
        c.options = Options{};
        const std::int64_t H = c.shape.Hv, G = c.shape.Hk;
        c.put_normal("x", Along::queries, H, c.shape.Dv);
        c.put_normal("B", Along::keys, G, c.shape.D);
        c.put_normal("C", Along::keys, G, c.shape.D);
        const float step = c.gates == Gates::mild ? -2.0f : c.gates == Gates::zero ? -200.0f : 3.0f;
        c.put("dt", Along::keys, H, 1, [&] { return step + c.random.normal(); });
        std::vector<float> A = c.random.normals(H);
        for (float& a : A)
            a = (c.gates == Gates::closed ? -1e5f : c.gates == Gates::strong ? -6.0f : -0.5f) - std::abs(a);
        c.put_array("A", 1, H, A);
    };
    const auto skip = [](LinearCase& c) { c.put_normal("D", Along::nothing, c.shape.Hv, c.shape.Dv); };
    const auto gated = [](LinearCase& c) { c.put_normal("z", Along::keys, c.shape.Hv, c.shape.Dv); };
    static const auto biased = [](LinearCase& c) {
        std::vector<float> bias = c.random.normals(c.shape.Hv);
        for (float& b : bias) b -= 1;
        c.put_array("dt_bias", 1, c.shape.Hv, bias);
    };
    static const auto everything = [](LinearCase& c) {
        biased(c);
        c.put_normal("D", Along::nothing, c.shape.Hv, c.shape.Dv);
        c.put_normal("z", Along::keys, c.shape.Hv, c.shape.Dv);
        options_of<Options>(c).dt_limit = {{0.01f, 0.5f}};
    };
    return {"mamba2",
            Grouping::state,
            fill,
            {{"plain", [](LinearCase&) {}},
             {"a skip per head", [](LinearCase& c) { c.put_normal("D", Along::nothing, c.shape.Hv, 1); }},
             {"a skip per channel", skip},
             {"gated", gated},
             {"dt_bias", biased},
             {"dt_limit",
              [](LinearCase& c) {
                  options_of<Options>(c).dt_limit = {{0.001f, 0.1f}};
              }},
             {"dt_limit without an upper end",
              [](LinearCase& c) {
                  options_of<Options>(c).dt_limit = {{0.05f, std::numeric_limits<float>::infinity()}};
              }},
             {"no softplus, negative dt",
              [](LinearCase& c) {
                  options_of<Options>(c).dt_softplus = false;
                  c.put_uniform("dt", Along::keys, c.shape.Hv, 1, -0.1, 0.5);
              }},
             {"everything", everything}}};
}

}  // namespace attenta_test
