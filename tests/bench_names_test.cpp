// The names of the benchmarks, which scripts take apart.
#include "bench/names.hpp"

#include <gtest/gtest.h>

#include <string>

namespace {

using bench::AttendCase;
using bench::Layout;

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

}  // namespace
