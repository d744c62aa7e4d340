// Steady decode steps of the mechanisms around exact softmax allocate nothing.
#include <attenta/softmax.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "support/count_allocations.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::Heads, attenta::KvView, attenta::Matrices;

struct Step {
    Random random{1};
    Tensor<float> q = random_tensor(random, 4, 1, 16), k = random_tensor(random, 2, 300, 16),
                  v = random_tensor(random, 2, 300, 24), o{4, 1, 24};
    std::vector<float> lse = std::vector<float>(4), weights = random.normals(64 * 16);
    KvView kv = KvView::of(k.view(), v.view());
    attenta::SoftmaxOutputs out{o.view(), lse.data()};

    Matrices<const float> matrix(std::int64_t rows, std::int64_t cols) const { return {weights.data(), 1, rows, cols}; }
};

/// The third of equal steps makes no allocation, with one thread and with two.
template <class F>
void expect_none(F&& step) {
    on_every_isa([&](Context& context) {
        step(context), step(context);
        const std::int64_t before = allocations;
        step(context);
        EXPECT_EQ(allocations - before, 0);
    });
}

TEST(SoftmaxFamilyAllocation, StepsWithTablesAndMasks) {
    const Step s;
    expect_none([&](Context& context) {
        attenta::t5_bias({s.q.view(), s.kv, s.matrix(32, 4)}, {s.out}, {.bidirectional = false}, context);
    });
    expect_none([&](Context& context) {
        attenta::sink_bias({s.q.view(), s.kv, s.matrix(2, 16), s.matrix(2, 24)}, s.out, {}, context);
    });
    const std::int64_t parent = -1;
    expect_none([&](Context& context) { attenta::tree_mask({s.q.view(), s.kv, {&parent, 1}}, {s.out}, {}, context); });
}

TEST(SoftmaxFamilyAllocation, StepsWithNorms) {
    const Step s;
    expect_none([&](Context& context) {
        attenta::cosine({.q = s.q.view(), .kv = s.kv, .s_qk = s.matrix(2, 16)}, s.out, {}, context);
    });
    expect_none([&](Context& context) {
        attenta::cosine({.q = s.q.view(), .kv = s.kv, .q_norm = s.matrix(1, 16), .k_norm = s.matrix(1, 16)}, s.out,
                        {.method = attenta::CosineMethod::layer}, context);
    });
}

TEST(SoftmaxFamilyAllocation, StepsThatRotate) {
    const Step s;
    const attenta::RopeTable table(16, {}, 400);
    const std::vector<std::int64_t> position = {300};
    expect_none([&](Context& context) {
        attenta::rope_rotate(s.q.view(), position, s.q.view(), table, context);
        attenta::rope({s.q.view(), s.k.view()}, {s.q.view(), s.k.view()}, {}, context);
    });
    expect_none([&](Context& context) {
        attenta::rope_nope({s.q.view(), s.k.view(), s.v.view()}, s.out, {.window = 50}, context);
    });
    expect_none([&](Context& context) {
        attenta::complex({s.q.view(), s.k.view(), s.v.view(), s.matrix(4, 8), s.matrix(4, 8)}, s.out, {}, context);
    });
}

TEST(SoftmaxFamilyAllocation, StepsOfAScan) {
    const Step s;
    std::vector<float> m(4, 0.f), u(4, 1.f), w(4 * 24);
    const KvView one = KvView::of(s.k.view().slice(0, 1), s.v.view().slice(0, 1));
    expect_none([&](Context& context) {
        attenta::scan_attention(
            {.q = {s.q.view().data, 1, 4, 16}, .kv = one, .m = m, .u = u, .w = {w.data(), 1, 4, 24}},
            {s.out.o, s.out.lse, m, u, {w.data(), 1, 4, 24}}, {}, context);
    });
}

}  // namespace
}  // namespace attenta_test
