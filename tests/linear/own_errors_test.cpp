// Bad input of single linear attentions: what each refuses beside the rest (linear_errors_test.cpp).
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <limits>
#include <string_view>
#include <variant>

#include "linear/support/naive_linear_spoiled.hpp"

namespace attenta_test {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

class LinearOwnErrors : public testing::Test {
protected:
    /// refused({"k", "15", "16"}, spoil) of the mechanism that was named last.
    testing::AssertionResult refused(Words words, void (*spoil)(Call&), std::size_t variant = 0) const {
        testing::AssertionResult result = attenta_test::refused(Call(mechanism(name), variant), {name}, spoil);
        return result ? attenta_test::refused(Call(mechanism(name), variant), words, spoil) : result;
    }
    std::string_view name;
};

TEST_F(LinearOwnErrors, MechanismsWithFreeHeads) {
    for (const char* free : {"gla", "lightning", "retention", "delta_rule", "gated_delta_rule", "kda"}) {
        SCOPED_TRACE(name = free);
        EXPECT_TRUE(refused({"3", "2"}, [](Call& c) { c.x.at("q").heads = c.o.heads = 3; }));
        EXPECT_TRUE(refused({"3"}, [](Call& c) { c.x.at("v").heads = 3; }));
        EXPECT_TRUE(refused({"3"}, [](Call& c) { c.x.at("k").heads = 3; }));
        EXPECT_TRUE(refused({"15", "16"}, [](Call& c) { c.x.at("k").dim = 15; }));
        EXPECT_TRUE(refused({"15", "16"}, [](Call& c) { c.x.at("q").dim = 15; }));
        EXPECT_TRUE(refused({"23", "24"}, [](Call& c) { c.x.at("v").dim = 23; }));
    }
}

TEST_F(LinearOwnErrors, MechanismsWithEqualHeads) {
    for (const char* equal : {"hgrn2", "rwkv6", "rwkv7"}) {
        SCOPED_TRACE(name = equal);
        EXPECT_TRUE(refused({"1", "2"}, [](Call& c) { c.x.at("q").heads = 1; }));
        EXPECT_TRUE(refused({"4", "2"}, [](Call& c) { c.x.at("q").heads = c.o.heads = 4; }));
        EXPECT_TRUE(refused({"v", "1", "2"}, [](Call& c) { c.x.at("v").heads = 1; }));
        EXPECT_TRUE(refused({"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }));
        EXPECT_TRUE(refused({"g", "15", "16"}, [](Call& c) { c.x.at("g").dim = 15; }));
        EXPECT_TRUE(refused({"g", "1", "16"}, [](Call& c) { c.x.at("g").dim = 1; }));
        EXPECT_TRUE(refused({"g", "1", "6"}, [](Call& c) { c.x.at("g").tokens = 1; }));
    }
}

TEST_F(LinearOwnErrors, GlaGates) {
    name = "gla";
    EXPECT_TRUE(refused({"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }));
    EXPECT_TRUE(refused({"g", "4", "2"}, [](Call& c) { c.x.at("g").heads = 4; }));
    EXPECT_TRUE(refused({"g", "15", "16"}, [](Call& c) { c.x.at("g").dim = 15; }));
    EXPECT_TRUE(refused({"g", "1", "6"}, [](Call& c) { c.x.at("g").tokens = 1; }));
    const std::size_t value_gates = 4;
    EXPECT_TRUE(refused(
        {"gv", "1", "2"}, [](Call& c) { c.x.at("gv").heads = 1; }, value_gates));
    EXPECT_TRUE(refused(
        {"gv", "5", "6"}, [](Call& c) { c.x.at("gv").tokens = 5; }, value_gates));
    EXPECT_TRUE(refused(
        {"gv", "1", "24"}, [](Call& c) { c.x.at("gv").dim = 1; }, value_gates));
}

TEST_F(LinearOwnErrors, DeltaRules) {
    for (const char* rule : {"delta_rule", "gated_delta_rule", "kda"}) {
        SCOPED_TRACE(name = rule);
        EXPECT_TRUE(refused({"beta", "1", "2"}, [](Call& c) { c.x.at("beta").heads = 1; }));
        EXPECT_TRUE(refused({"beta", "5", "6"}, [](Call& c) { c.x.at("beta").tokens = 5; }));
        EXPECT_TRUE(refused({"beta", "2"}, [](Call& c) { c.x.at("beta").dim = 2; }));
        const auto eps = [](float e) {
            return [e](Call& c) {
                std::visit(
                    [e](auto& x) {
                        if constexpr (requires { x.qk_l2norm; }) x.qk_l2norm = true, x.eps = e;
                    },
                    c.c.options);
            };
        };
        for (const float e : {-1e-6f, nan, infinity})
            EXPECT_TRUE(attenta_test::refused(Call(mechanism(name)), {name, "eps"}, eps(e))) << e;
    }
    name = "gated_delta_rule";
    EXPECT_TRUE(refused({"g", "16"}, [](Call& c) { c.x.at("g").dim = 16; }));
    EXPECT_TRUE(refused({"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }));
    name = "kda";
    EXPECT_TRUE(refused({"g", "1", "16"}, [](Call& c) { c.x.at("g").dim = 1; }));
    EXPECT_TRUE(refused({"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }));
}

TEST_F(LinearOwnErrors, Rwkv) {
    name = "rwkv6";
    EXPECT_TRUE(refused({"15", "16"}, [](Call& c) { c.x.at("k").dim = 15; }));
    EXPECT_TRUE(refused({"u", "1", "2"}, [](Call& c) { c.x.at("u").heads = 1; }));
    EXPECT_TRUE(refused({"u", "6", "1"}, [](Call& c) { c.x.at("u").tokens = 6; }));
    EXPECT_TRUE(refused({"u", "15", "16"}, [](Call& c) { c.x.at("u").dim = 15; }));
    name = "rwkv7";
    EXPECT_TRUE(refused({"15", "16"}, [](Call& c) { c.x.at("k").dim = 15; }));
    EXPECT_TRUE(refused({"a", "15", "16"}, [](Call& c) { c.x.at("a").dim = 15; }));
    EXPECT_TRUE(refused({"b", "15", "16"}, [](Call& c) { c.x.at("b").dim = 15; }));
    EXPECT_TRUE(refused({"a", "1", "2"}, [](Call& c) { c.x.at("a").heads = 1; }));
    EXPECT_TRUE(refused({"b", "1", "2"}, [](Call& c) { c.x.at("b").heads = 1; }));
}

TEST_F(LinearOwnErrors, Lightning) {
    using Options = attenta::LightningOptions;
    name = "lightning";
    const std::size_t given = 1;
    EXPECT_TRUE(refused(
        {"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }, given));
    EXPECT_TRUE(refused(
        {"3"}, [](Call& c) { c.x.at("g").heads = 3; }, given));
    EXPECT_TRUE(refused(
        {"g", "6", "1"}, [](Call& c) { c.x.at("g").tokens = 6; }, given));
    EXPECT_TRUE(refused(
        {"g", "16", "1"}, [](Call& c) { c.x.at("g").dim = 16; }, given));
    EXPECT_TRUE(refused({"layer", "-1"}, [](Call& c) { c.options<Options>().layer = -1; }));
    EXPECT_TRUE(refused({"layer", "4"},
                        [](Call& c) { c.options<Options>().layer = c.options<Options>().num_layers.emplace(4); }));
    EXPECT_TRUE(refused({"num_layers", "1"}, [](Call& c) { c.options<Options>().num_layers = 1; }));
    EXPECT_TRUE(refused({"num_layers", "0"}, [](Call& c) { c.options<Options>().num_layers = 0; }));
    EXPECT_TRUE(refuses([] { attenta::lightning_decay(8, {.layer = 5, .num_layers = 5}); }, {"layer", "5"}));
    EXPECT_TRUE(refuses([] { attenta::lightning_decay(8, {.num_layers = 1}); }, {"num_layers", "1"}));
    EXPECT_TRUE(refuses([] { attenta::lightning_decay(0); }, {"heads", "0"}));
}

TEST_F(LinearOwnErrors, Retention) {
    using Options = attenta::RetentionOptions;
    name = "retention";
    const std::size_t rotated = 1, given = 7;
    EXPECT_TRUE(refused(
        {"theta", "7", "8"}, [](Call& c) { c.x.at("theta").dim = 7; }, rotated));
    EXPECT_TRUE(refused(
        {"15"}, [](Call& c) { c.x.at("q").dim = c.x.at("k").dim = 15, c.x.at("theta").dim = 7; }, rotated));
    EXPECT_TRUE(refused(
        {"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }, given));
    EXPECT_TRUE(refused(
        {"3"}, [](Call& c) { c.x.at("g").heads = 3; }, given));
    EXPECT_TRUE(refused(
        {"g", "6", "1"}, [](Call& c) { c.x.at("g").tokens = 6; }, given));
    EXPECT_TRUE(refused(
        {"g", "16", "1"}, [](Call& c) { c.x.at("g").dim = 16; }, given));
    EXPECT_TRUE(refused({"offset", "-1"}, [](Call& c) { c.options<Options>().offset = -1; }));
    EXPECT_TRUE(refused({"offset", "6"},
                        [](Call& c) { c.options<Options>().offset = std::numeric_limits<std::int64_t>::max() - 5; }));
    EXPECT_TRUE(refuses([] { attenta::retention_decay(0); }, {"heads", "0"}));
    // A state of a call without normalisation lacks what "decay" and "full" need.
    Call plain(mechanism(name));
    plain.run();
    const auto with = [&](attenta::RetentionNorm norm) {
        return [&plain, norm](Call& c) { c.state = plain.state, c.options<Options>().score_norm = norm; };
    };
    EXPECT_TRUE(attenta_test::refused(Call(mechanism(name)), {name, "weight"}, with(attenta::RetentionNorm::decay)));
    EXPECT_TRUE(attenta_test::refused(Call(mechanism(name)), {name, "state"}, with(attenta::RetentionNorm::full)));
}

TEST_F(LinearOwnErrors, Mamba2) {
    using Options = attenta::Mamba2Options;
    name = "mamba2";
    EXPECT_TRUE(refused({"1", "2"}, [](Call& c) { c.x.at("B").heads = 1; }));
    EXPECT_TRUE(refused({"1", "2"}, [](Call& c) { c.x.at("C").heads = 1; }));
    EXPECT_TRUE(refused({"3", "4"}, [](Call& c) { c.x.at("B").heads = c.x.at("C").heads = 3; }));
    EXPECT_TRUE(refused({"15", "16"}, [](Call& c) { c.x.at("B").dim = 15; }));
    EXPECT_TRUE(refused({"15", "16"}, [](Call& c) { c.x.at("C").dim = 15; }));
    EXPECT_TRUE(refused({"dt", "2", "4"}, [](Call& c) { c.x.at("dt").heads = 2; }));
    EXPECT_TRUE(refused({"dt", "2", "1"}, [](Call& c) { c.x.at("dt").dim = 2; }));
    EXPECT_TRUE(refused({"A", "3", "4"}, [](Call& c) { c.x.at("A").dim = 3; }));
    EXPECT_TRUE(refused({"A", "0", "4"}, [](Call& c) { c.x.at("A").dim = 0; }));
    const std::size_t everything = 8;
    EXPECT_TRUE(refused(
        {"dt_bias", "3", "4"}, [](Call& c) { c.x.at("dt_bias").dim = 3; }, everything));
    EXPECT_TRUE(refused(
        {"D", "2", "4"}, [](Call& c) { c.x.at("D").heads = 2; }, everything));
    EXPECT_TRUE(refused(
        {"D", "6", "1"}, [](Call& c) { c.x.at("D").tokens = 6; }, everything));
    EXPECT_TRUE(refused(
        {"D", "23", "24"}, [](Call& c) { c.x.at("D").dim = 23; }, everything));
    EXPECT_TRUE(refused(
        {"z", "2", "4"}, [](Call& c) { c.x.at("z").heads = 2; }, everything));
    EXPECT_TRUE(refused(
        {"z", "23", "24"}, [](Call& c) { c.x.at("z").dim = 23; }, everything));
    EXPECT_TRUE(refused({"dt_limit"}, [](Call& c) { c.options<Options>().dt_limit = {{nan, 1.0f}}; }));
    EXPECT_TRUE(refused({"dt_limit"}, [](Call& c) { c.options<Options>().dt_limit = {{0.0f, nan}}; }));
    EXPECT_TRUE(refused({"dt_limit"}, [](Call& c) { c.options<Options>().dt_limit = {{0.5f, 0.25f}}; }));
}

TEST_F(LinearOwnErrors, MechanismsWithFeatures) {
    for (const char* featured : {"kernel_linear", "performer"}) {
        SCOPED_TRACE(name = featured);
        EXPECT_TRUE(refused({"q", "3", "2"}, [](Call& c) { c.x.at("q").heads = c.o.heads = 3; }));
        EXPECT_TRUE(refused({"1", "2"}, [](Call& c) { c.x.at("q").heads = c.o.heads = 1; }));
        EXPECT_TRUE(refused({"q", "1", "2"}, [](Call& c) { c.x.at("q").heads = 1, c.o.heads = 2; }));
        EXPECT_TRUE(refused({"v", "1", "2"}, [](Call& c) { c.x.at("v").heads = 1; }));
        EXPECT_TRUE(refused({"v", "5", "6"}, [](Call& c) { c.x.at("v").tokens = 5; }));
        EXPECT_TRUE(refused({"15", "16"}, [](Call& c) { c.x.at("k").dim = 15; }));
        EXPECT_TRUE(refused({"23", "24"}, [](Call& c) { c.x.at("v").dim = 23; }));
        EXPECT_TRUE(refused({"q", "6", "5"}, [](Call& c) { c.x.at("k").tokens = c.x.at("v").tokens = 5; }));
    }
}

TEST_F(LinearOwnErrors, KernelLinear) {
    using Options = attenta::KernelLinearOptions;
    name = "kernel_linear";
    EXPECT_TRUE(refused({"eps"}, [](Call& c) { c.options<Options>().eps = -1e-6f; }));
    EXPECT_TRUE(refused({"eps"}, [](Call& c) { c.options<Options>().eps = nan; }));
    EXPECT_TRUE(refused({"eps"}, [](Call& c) { c.options<Options>().eps = infinity; }));
    EXPECT_TRUE(refused({"eps", "0"}, [](Call& c) {
        c.options<Options>().eps = 0, c.options<Options>().denominator = attenta::KernelDenominator::clamp;
    }));
    EXPECT_TRUE(refused({"cos_max_len", "5", "6"}, [](Call& c) {
        c.options<Options>().feature = attenta::KernelFeature::cos, c.options<Options>().cos_max_len = 5;
    }));
    EXPECT_TRUE(refused({"cos_max_len", "0"}, [](Call& c) {
        c.options<Options>().feature = attenta::KernelFeature::cos, c.options<Options>().cos_max_len = 0;
    }));
    EXPECT_TRUE(refused({"cos_max_len", "16"}, [](Call& c) {
        c.options<Options>().feature = attenta::KernelFeature::cos, c.options<Options>().cos_max_len = 15;
        c.options<Options>().offset = 10;
    }));
    EXPECT_TRUE(refused({"offset", "-1"}, [](Call& c) {
        c.options<Options>().feature = attenta::KernelFeature::cos, c.options<Options>().offset = -1;
    }));
    EXPECT_TRUE(refused({"offset", "6"}, [](Call& c) {
        c.options<Options>().feature = attenta::KernelFeature::cos;
        c.options<Options>().offset = std::numeric_limits<std::int64_t>::max() - 5;
    }));
    // A state that was never divided by, where the call divides.
    EXPECT_TRUE(attenta_test::refused(Call(mechanism(name), 0, true), {name, "state.normalizer", "0"},
                                      [](Call& c) { c.state.normalizer.clear(); }));
}

TEST_F(LinearOwnErrors, Performer) {
    using Options = attenta::PerformerOptions;
    name = "performer";
    EXPECT_TRUE(refused({"projection", "15", "16"}, [](Call& c) { c.x.at("projection").dim = 15; }));
    EXPECT_TRUE(refused({"projection", "0"}, [](Call& c) { c.x.at("projection").tokens = 0; }));
    EXPECT_TRUE(refused({"projection", "2", "1"}, [](Call& c) { c.x.at("projection").heads = 2; }));
    EXPECT_TRUE(refused({"key_max", "1", "2"}, [](Call& c) { c.x.at("key_max").dim = 1; }));
    EXPECT_TRUE(refused({"eps"}, [](Call& c) { c.options<Options>().eps = -1.0f; }));
    EXPECT_TRUE(refused({"eps"}, [](Call& c) { c.options<Options>().eps = nan; }));
    EXPECT_TRUE(
        refused({"denominator_stabilizer"}, [](Call& c) { c.options<Options>().denominator_stabilizer = nan; }));
    EXPECT_TRUE(refuses([] { attenta::performer_projection(0, 8, 1); }, {"performer_projection", "0"}));
    EXPECT_TRUE(refuses([] { attenta::performer_projection(8, 0, 1); }, {"performer_projection", "0"}));
}

}  // namespace
}  // namespace attenta_test
