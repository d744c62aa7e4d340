// The names of the benchmarks, which scripts take apart.
#include "bench/linear/names.hpp"
#include "bench/names.hpp"

#include <gtest/gtest.h>

#include <string>

namespace {

using bench::AttendCase;
using bench::GrowthCase;
using bench::Layout;
using bench::LinearCase;

const AttendCase prefill{.causal = true, .Hq = 8, .Hkv = 2, .D = 128, .Dv = 128, .Tq = 4096, .Tk = 4096};
const std::string prefill_name = "attend/attenta/f32/nhd/causal/Hq:8/Hkv:2/D:128/Tq:4096/Tk:4096/threads:1";

TEST(BenchNames, SayEverythingOnce) { EXPECT_EQ(format_name(prefill), prefill_name); }

TEST(BenchNames, EndInWarmWhereDataStaysInCache) {
    AttendCase c = prefill;
    c.warm = true;
    EXPECT_EQ(format_name(c), prefill_name + "/warm");
}

TEST(BenchNames, NameTheValueWidthOnlyWhereItDiffers) {
    AttendCase c = prefill;
    c.Dv = 96;
    EXPECT_EQ(format_name(c), "attend/attenta/f32/nhd/causal/Hq:8/Hkv:2/D:128/Dv:96/Tq:4096/Tk:4096/threads:1");
}

TEST(BenchNames, AreReadBackAsTheyWereWritten) {
    for (const auto dtype : {attenta::Dtype::f32, attenta::Dtype::bf16, attenta::Dtype::f16})
        for (const auto layout : {Layout::hnd, Layout::nhd, Layout::paged16})
            for (const bool flag : {false, true}) {
                const AttendCase c{.impl = flag ? "attenta" : "naive_eigen",
                                   .dtype = dtype,
                                   .layout = layout,
                                   .causal = flag,
                                   .Hq = 32,
                                   .Hkv = 8,
                                   .D = 128,
                                   .Dv = flag ? 128 : 96,
                                   .Tq = 1,
                                   .Tk = 32768,
                                   .threads = flag ? 2 : 1,
                                   .warm = !flag};
                EXPECT_EQ(bench::parse_name(format_name(c)), c) << format_name(c);
            }
}

TEST(BenchNames, AreRefusedWhereAnythingIsAmiss) {
    const std::string tail = "/Hq:8/Hkv:2/D:128/Tq:4096/Tk:4096/threads:1";
    for (const std::string& name :
         {std::string(), std::string("overhead/plan_run"), "attend/attenta/f64/nhd/causal" + tail,
          "attend/attenta/f32/ndh/causal" + tail, "attend/attenta/f32/nhd/window" + tail,
          "attend//f32/nhd/causal" + tail, prefill_name + "/cold", prefill_name + "/warm/x",
          std::string("attend/attenta/f32/nhd/full/Hq:8/Hkv:2/D:128/Tq:x/Tk:4096/threads:1"),
          std::string("attend/attenta/f32/nhd/full/Hq:8/Hkv:0/D:128/Tq:1/Tk:4096/threads:1"),
          std::string("attend/attenta/f32/nhd/full/Hq:8/Hkv:2/D:128/Tq:1/Tk:4096")})
        EXPECT_FALSE(bench::parse_name(name)) << name;
}

const std::string linear_name = "linear/attenta/gla/prefill/H:8/D:128/T:4096/threads:1";

TEST(BenchNames, OfLinearAttentionSayTheMechanism) {
    EXPECT_EQ(format_name(LinearCase{.mechanism = "gla", .H = 8, .D = 128, .T = 4096}), linear_name);
    EXPECT_EQ(
        format_name(LinearCase{
            .impl = "naive_eigen", .mechanism = "rwkv7", .decode = true, .H = 32, .D = 128, .T = 1, .warm = true}),
        "linear/naive_eigen/rwkv7/decode/H:32/D:128/T:1/threads:1/warm");
    EXPECT_EQ(format_name(GrowthCase{.mechanism = "gla", .H = 8, .D = 128, .T = 262144}),
              "growth/linear/gla/H:8/D:128/T:262144");
}

TEST(BenchNames, OfLinearAttentionAreReadBackAsTheyWereWritten) {
    for (const auto* mechanism : {"kernel_linear", "gated_delta_rule"})
        for (const bool flag : {false, true}) {
            const LinearCase c{.impl = flag ? "attenta" : "naive_eigen",
                               .mechanism = mechanism,
                               .decode = flag,
                               .H = 32,
                               .D = 64,
                               .T = flag ? 1 : 4096,
                               .threads = flag ? 2 : 1,
                               .warm = flag};
            EXPECT_EQ(bench::parse_linear_name(format_name(c)), c) << format_name(c);
            const GrowthCase g{.mechanism = mechanism, .H = 8, .D = 128, .T = 65536};
            EXPECT_EQ(bench::parse_growth_name(format_name(g)), g) << format_name(g);
        }
}

TEST(BenchNames, OfLinearAttentionAreRefusedWhereAnythingIsAmiss) {
    const std::string sizes = "/H:8/D:128/T:4096";
    for (const std::string& name :
         {std::string(), prefill_name, "growth/linear/gla" + sizes, "linear//gla/prefill" + sizes + "/threads:1",
          "linear/attenta//prefill" + sizes + "/threads:1", "linear/attenta/gla" + sizes + "/threads:1",
          "linear/attenta/gla/train" + sizes + "/threads:1", "linear/attenta/gla/prefill" + sizes,
          linear_name + "/cold", linear_name + "/warm/x",
          std::string("linear/attenta/gla/prefill/H:8/D:0/T:4096/threads:1"),
          std::string("linear/attenta/gla/prefill/D:128/H:8/T:4096/threads:1")})
        EXPECT_FALSE(bench::parse_linear_name(name)) << name;
    for (const std::string& name : {std::string(), linear_name, "growth/softmax/gla" + sizes, "growth/linear/" + sizes,
                                    "growth/linear/gla" + sizes + "/threads:1"})
        EXPECT_FALSE(bench::parse_growth_name(name)) << name;
    EXPECT_FALSE(bench::parse_name(linear_name));
}

}  // namespace
