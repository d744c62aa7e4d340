// Inputs and options of delta_rule, gated_delta_rule, kda, rwkv7.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "naive_linear_mechanism.hpp"

namespace attenta_test {

/// beta in (0.05, 0.95) and keys of length 1, so that the state does not grow.
template <class Options, bool per_token, bool per_channel>
LinearMechanism delta_mechanism(const char* name) {
    const auto fill = [](LinearCase& c) {
        c.options = Options{};
        put_qkv(c);
        c.put_units("k", Along::keys, c.shape.Hk, c.shape.D);
        c.put_uniform("beta", Along::keys, state_heads(c), 1, 0.05, 0.95);
        if (per_token || per_channel) c.put_gates("g", Along::keys, state_heads(c), per_channel ? c.shape.D : 1);
    };
    return {name,
            Grouping::any,
            fill,
            {{"plain", [](LinearCase&) {}},
             {"scale -1.5", [](LinearCase& c) { options_of<Options>(c).scale = -1.5f; }},
             {"qk_l2norm",
              [](LinearCase& c) {
                  options_of<Options>(c).qk_l2norm = true;
                  c.put_normal("k", Along::keys, c.shape.Hk, c.shape.D, 3);
              }},
             {"qk_l2norm, eps 0.5",
              [](LinearCase& c) {
                  options_of<Options>(c).qk_l2norm = true, options_of<Options>(c).eps = 0.5f;
                  c.put_normal("k", Along::keys, c.shape.Hk, c.shape.D);
              }},
             {"beta up to 1.9", [](LinearCase& c) { c.put_uniform("beta", Along::keys, state_heads(c), 1, 0.1, 1.9); }},
             {"beta 0", [](LinearCase& c) { c.put_uniform("beta", Along::keys, state_heads(c), 1, 0, 0); }},
             {"one key, beta 1", [](LinearCase& c) {
                  c.put_uniform("beta", Along::keys, state_heads(c), 1, 1, 1);
                  const View k = c.inputs.find("k")->second.tensor.view();
                  c.inputs.find("k")->second.tensor.each_row(
                      [&](float* row, std::int64_t h, std::int64_t) { std::copy_n(k.row(h, 0), k.dim, row); });
              }}}};
}

inline LinearMechanism rwkv7_mechanism() {
    using Options = attenta::Rwkv7Options;
    // As the model forms a and b: a the negated unit key, b the unit key times a rate for each channel.
    const auto fill = [](LinearCase& c) {
        c.options = Options{};
        put_qkv(c);
        const std::int64_t H = c.shape.Hk, D = c.shape.D;
        c.put_normal("k", Along::keys, H, D, 1 / std::sqrt(static_cast<float>(D)));
        c.put_units("a", Along::keys, H, D, -1);
        c.put_uniform("b", Along::keys, H, D, 0.05, 0.95);
        const View a = c.inputs.find("a")->second.tensor.view();
        c.inputs.find("b")->second.tensor.each_row([&](float* row, std::int64_t h, std::int64_t t) {
            for (std::int64_t d = 0; d < D; ++d) row[d] *= -a.row(h, t)[d];
        });
        c.put_gates("g", Along::keys, H, D);
    };
    return {"rwkv7",
            Grouping::none,
            fill,
            {{"plain", [](LinearCase&) {}},
             {"scale 0.5", [](LinearCase& c) { options_of<Options>(c).scale = 0.5f; }},
             {"free transition", [](LinearCase& c) {
                  const float gain = 0.3f / std::sqrt(static_cast<float>(c.shape.D));
                  c.put_normal("a", Along::keys, c.shape.Hk, c.shape.D, gain);
                  c.put_normal("b", Along::keys, c.shape.Hk, c.shape.D, gain);
              }}}};
}

}  // namespace attenta_test
