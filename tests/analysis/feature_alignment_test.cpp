// Feature alignment equals its definition; a feature of all pairs has all of the mass; weights at the threshold are strong; own errors.
#include <attenta/analysis/feature_alignment.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::FeatureAlignmentInputs, analysis::FeatureAlignmentOptions;
constexpr auto call = &analysis::feature_alignment;

Values definition(const FeatureAlignmentInputs& x, const FeatureAlignmentOptions& o) {
    const std::int64_t heads = x.attn.count(0, 2), pairs = x.attn.count(2), features = x.feature.size(0);
    Values want;
    for (std::int64_t f = 0; f < features; ++f)
        for (std::int64_t h = 0; h < heads; ++h) {
            double strong = 0, both = 0, total = 0, inside = 0, marked = 0;
            for (std::int64_t n = 0; n < pairs; ++n) {
                const double a = double{x.attn.data[h * pairs + n]};
                const bool is_strong = a >= o.min_attn, has_it = x.feature.data[f * pairs + n] == 1;
                strong += is_strong;
                both += is_strong && has_it;
                total += a;
                inside += has_it ? a : 0;
                marked += has_it;
            }
            if (f == 0) want["count"].push_back(strong);
            want["share"].push_back(both / std::max(strong, 1.0));
            want["mass"].push_back(inside / total);
            want["mean"].push_back(inside / std::max(marked, 1.0));
            want["energy"].push_back(std::pow(1 - inside / total, 2));
        }
    return want;
}

FeatureAlignmentInputs drawn(Memory& memory, const std::array<std::int64_t, 4>& sizes, std::int64_t features,
                             double share) {
    std::vector<std::int64_t> marks(static_cast<std::size_t>(features * sizes[2] * sizes[3]));
    for (std::int64_t& mark : marks) mark = memory.random.uniform() < share ? 1 : 0;
    return {memory.weights(sizes, sizes[2] == sizes[3], 2.5),
            {memory.indices(std::move(marks)).data(), {features, sizes[2], sizes[3]}}};
}

TEST(FeatureAlignment, EqualsItsDefinition) {
    Memory memory;
    for (const auto& sizes :
         {std::array<std::int64_t, 4>{1, 1, 1, 1}, {1, 5, 1, 9}, {2, 3, 23, 23}, {3, 2, 5, 33}, {1, 2, 130, 67}})
        for (const double share : {0.0, 0.2, 1.0})
            for (const double min_attn : {0.0, 0.05, 0.3, 1.0}) {
                const auto x = drawn(memory, sizes, sizes[1], share);
                expect_values<call>(x, {min_attn}, definition(x, {min_attn}));
            }
}

/// 0.3 as a float is above 0.3 and 0.7 below it: both compare as the numbers that they are.
TEST(FeatureAlignment, ComparesWithTheThresholdItself) {
    Memory memory;
    const std::vector<std::int64_t> marks(2, 1);
    const FeatureAlignmentInputs x{{memory.vector({0.3f, 0.7f}).data(), {1, 1, 1, 2}}, {marks.data(), {1, 1, 2}}};
    const auto count = [&](double min_attn) {
        std::int64_t n = 0;
        analysis::feature_alignment(x, {.count = &n}, {min_attn});
        return n;
    };
    EXPECT_EQ(count(0.3), 2);
    EXPECT_EQ(count(double{0.3f}), 2);
    EXPECT_EQ(count(double{0.7f}), 1);
    EXPECT_EQ(count(0.7), 0);
}

TEST(FeatureAlignmentErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const auto x = drawn(memory, {2, 3, 5, 7}, 2, 0.5);
    expect_bad_tensors_refused<call>(x, {});
    for (const double least : {-0.1, 1.1, std::nan("")})
        EXPECT_TRUE(
            refuses_options<call>(x, {}, [=](auto& o) { o.min_attn = least; }, {"feature_alignment", "min_attn"}));
    std::vector<std::int64_t> marks(x.feature.data, x.feature.data + 70);
    for (const std::int64_t wrong : {2, -1}) {
        marks[36] = wrong;
        EXPECT_TRUE(refuses_inputs<call>(x, {}, [&](auto& in) { in.feature.data = marks.data(); },
                                         {"feature", std::to_string(wrong), "36", "0 or 1"}));
    }
    std::vector<float> weights(x.attn.data, x.attn.data + x.attn.count());
    std::fill_n(weights.begin() + 4 * 35, 35, 0.f);
    const auto refused = [&] {
        return refuses_inputs<call>(x, {}, [&](auto& in) { in.attn.data = weights.data(); },
                                    {"attn", "head 4", "above 0"});
    };
    EXPECT_TRUE(refused());
    weights[4 * 35] = std::nanf("");
    EXPECT_TRUE(refused());
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.feature.sizes[1] = 4; }, {"feature", "4", "5"}));
}

}  // namespace
}  // namespace attenta_test
