// Inputs and options of kernel_linear, performer.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "naive_linear_mechanism.hpp"

namespace attenta_test {

template <attenta::KernelFeature feature, bool causal>
void set_feature(LinearCase& c) {
    options_of<attenta::KernelLinearOptions>(c).feature = feature;
    options_of<attenta::KernelLinearOptions>(c).causal = causal;
}

template <bool causal>
void set_large_exp(LinearCase& c) {
    set_feature<attenta::KernelFeature::exp, causal>(c);
    for (const char* name : {"q", "k"}) change(c, name, [](float x) { return std::clamp(12 * x, -45.0f, 45.0f); });
}

/// Cosines of positions that go on from earlier tokens: the length is the caller's.
inline void set_cos_offset(LinearCase& c) {
    set_feature<attenta::KernelFeature::cos, true>(c);
    options_of<attenta::KernelLinearOptions>(c).offset = 37;
    options_of<attenta::KernelLinearOptions>(c).cos_max_len = 37 + 2 * c.shape.T;
}

inline void set_queries(LinearCase& c, std::int64_t Tq) {
    c.shape.Tq = Tq;
    c.put_normal("q", Along::queries, c.shape.Hq, c.shape.D);
}

inline LinearMechanism kernel_linear_mechanism() {
    using Options = attenta::KernelLinearOptions;
    using enum attenta::KernelFeature;
    const auto fill = [](LinearCase& c) {
        c.options = Options{.causal = true};
        put_qkv(c);
    };
    return {
        "kernel_linear",
        Grouping::queries,
        fill,
        {{"causal", [](LinearCase&) {}},
         {"not causal", set_feature<elu1, false>},
         {"relu causal", set_feature<relu, true>},
         {"relu", set_feature<relu, false>},
         {"squared_relu causal", set_feature<squared_relu, true>},
         {"exp causal", set_feature<exp, true>},
         {"exp", set_feature<exp, false>},
         {"large exp causal", set_large_exp<true>},
         {"large exp", set_large_exp<false>},
         // Sums of either sign would make the quotient as inexact as they are small.
         {"identity of positive numbers",
          [](LinearCase& c) {
              set_feature<identity, true>(c);
              for (const char* name : {"q", "k"}) change(c, name, [](float x) { return std::abs(x) + 0.1f; });
          }},
         {"identity, not normalised",
          [](LinearCase& c) {
              set_feature<identity, true>(c);
              options_of<Options>(c).normalize = false, options_of<Options>(c).scale = -0.5f;
          }},
         {"softmax causal", set_feature<softmax, true>},
         {"softmax", set_feature<softmax, false>},
         {"cos", set_feature<cos, false>},
         {"cos causal", set_feature<cos, true>},
         {"cos causal, offset", set_cos_offset},
         {"relu causal, clamp",
          [](LinearCase& c) {
              set_feature<relu, true>(c);
              options_of<Options>(c).denominator = attenta::KernelDenominator::clamp;
          }},
         {"clamp, eps 20",
          [](LinearCase& c) {
              options_of<Options>(c).denominator = attenta::KernelDenominator::clamp;
              options_of<Options>(c).eps = 20;
          }},
         {"eps 0", [](LinearCase& c) { options_of<Options>(c).eps = 0; }},
         {"large exp, eps 1e4, clamp",
          [](LinearCase& c) {
              set_large_exp<true>(c);
              options_of<Options>(c).denominator = attenta::KernelDenominator::clamp;
              options_of<Options>(c).eps = 1e4f;
          }},
         {"scale 3, eps 2", [](LinearCase& c) { options_of<Options>(c).scale = 3, options_of<Options>(c).eps = 2; }},
         {"causal with history", [](LinearCase& c) { set_queries(c, std::max<std::int64_t>(c.shape.T / 3, 1)); }},
         {"cos causal with history",
          [](LinearCase& c) {
              set_feature<cos, true>(c);
              set_queries(c, std::max<std::int64_t>(c.shape.T / 3, 1));
          }},
         {"more queries than keys", [](LinearCase& c) {
              set_feature<elu1, false>(c);
              set_queries(c, c.shape.T + 5);
          }}}};
}

inline void put_key_max(LinearCase& c, float mean) {
    std::vector<float> key_max = c.random.normals(c.shape.Hk);
    for (float& x : key_max) x = mean + 0.5f * x;
    c.put_array("key_max", 1, c.shape.Hk, key_max);
}

inline LinearMechanism performer_mechanism() {
    using Options = attenta::PerformerOptions;
    const auto fill = [](LinearCase& c) {
        c.options = Options{.causal = true};
        put_qkv(c);
        const std::int64_t M = c.shape.D + 5;
        c.put_array("projection", M, c.shape.D, c.random.normals(M * c.shape.D));
        put_key_max(c, 2);
    };
    static const auto relu = [](LinearCase& c) {
        options_of<Options>(c).kernel = attenta::PerformerKernel::relu;
        c.inputs.erase("key_max");
    };
    return {"performer",
            Grouping::queries,
            fill,
            {{"causal, key_max", [](LinearCase&) {}},
             {"causal", [](LinearCase& c) { c.inputs.erase("key_max"); }},
             {"not causal", [](LinearCase& c) { options_of<Options>(c).causal = false, c.inputs.erase("key_max"); }},
             {"not causal, key_max", [](LinearCase& c) { options_of<Options>(c).causal = false; }},
             {"relu causal", relu},
             {"relu", [](LinearCase& c) { relu(c), options_of<Options>(c).causal = false; }},
             {"relu, normalize_data, no ratio",
              [](LinearCase& c) {
                  relu(c), options_of<Options>(c).normalize_data = true, options_of<Options>(c).ratio = false;
              }},
             {"no normalize_data",
              [](LinearCase& c) { options_of<Options>(c).normalize_data = false, c.inputs.erase("key_max"); }},
             {"no ratio, eps 1e-4",
              [](LinearCase& c) { options_of<Options>(c).ratio = false, options_of<Options>(c).eps = 1e-4f; }},
             {"large numbers",
              [](LinearCase& c) {
                  c.inputs.erase("key_max");
                  for (const char* name : {"q", "k"}) change(c, name, [](float x) { return 6 * x; });
              }},
             {"stabilizer above many denominators",
              [](LinearCase& c) { options_of<Options>(c).denominator_stabilizer = 0.0123f; }},
             {"relu, eps 0, stabilizer",
              [](LinearCase& c) {
                  relu(c);
                  options_of<Options>(c).eps = 0.0f, options_of<Options>(c).denominator_stabilizer = 1e-6f;
              }},
             {"causal with history", [](LinearCase& c) { set_queries(c, std::max<std::int64_t>(c.shape.T / 3, 1)); }},
             {"more queries than keys", [](LinearCase& c) {
                  options_of<Options>(c).causal = false;
                  set_queries(c, c.shape.T + 5);
              }}}};
}

}  // namespace attenta_test
