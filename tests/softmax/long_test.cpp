// Sizes of real work and a wide search of random cases: minutes, not seconds.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstdint>

#include "support/isas.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::Context;

void expect_definition(const Case& c) {
    const Naive want = naive(c);
    on_every_isa([&](Context& context) { EXPECT_TRUE(close(attend(c, context), want)) << describe(c); });
}

TEST(SoftmaxLong, EqualsTheDefinitionForLargeShapes) {
    for (const Shape& shape :
         {Shape{8, 2, 2048, 2048, 64, 64}, Shape{4, 1, 1000, 3001, 80, 96}, Shape{32, 8, 1, 32768, 128, 128},
          Shape{2, 1, 65, 20000, 33, 256}, Shape{1, 1, 300, 300, 1024, 512}}) {
        Case c(shape);
        c.options.causal = true;
        expect_definition(c);
    }
}

TEST(SoftmaxLong, EqualsTheDefinitionForRandomOptions) {
    for (const double chance : {0.05, 0.1, 0.25})
        for (std::uint64_t seed = 1000; seed < 4000 && !testing::Test::HasFailure(); ++seed)
            expect_definition(random_case(seed, chance));
}

}  // namespace
}  // namespace attenta_test
