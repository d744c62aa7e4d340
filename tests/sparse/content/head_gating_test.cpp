#include <attenta/sparse/content/head_gating.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::HeadGatingInputs, attenta::HeadGatingOptions;

/// Share of the weight that near keys are expected to hold.
double expected_share(const HeadGatingInputs& x, const HeadGatingOptions& o, std::int64_t h, std::int64_t row) {
    const View k = k_of(x.kv);
    const std::int64_t kv_head = h / (x.q.heads / k.heads), i = k.tokens - x.q.tokens + row;
    const double scale = naive_scale(o.scale, x.q.dim);
    double near = 0, count = 0, mean = 0, variance = 0;
    for (std::int64_t j = 0; j <= i; ++j)
        if (j < o.sink || j > i - o.window)
            near += std::exp(scale * naive_dot(x.q.row(h, row), k.row(kv_head, j), k.dim));
        else
            count += 1;
    for (std::int64_t c = 0; c < k.dim; ++c) {
        const double q = double{x.q.row(h, row)[c]};
        mean += scale * q * double{x.mean.row(kv_head, 0)[c]};
        for (std::int64_t d = 0; d < k.dim; ++d)
            variance += scale * scale * q * double{x.cov.row(kv_head, c)[d]} * double{x.q.row(h, row)[d]};
    }
    return 1 / (1 + count * std::exp(mean + variance / 2) / near);
}

Naive naive_head_gating(const HeadGatingInputs& x, const HeadGatingOptions& o) {
    return naive_over(x.q, x.kv, naive_scale(o.scale, x.q.dim), [&](std::int64_t h, std::int64_t row) {
        const std::int64_t i = x.kv.length(0) - x.q.tokens + row;
        if (expected_share(x, o, h, row) < double{o.threshold}) return range(0, i + 1);
        Keys keys;
        for (std::int64_t j = 0; j <= i; ++j)
            if (j < o.sink || j > i - o.window) keys.push_back(j);
        return keys;
    });
}

HeadGatingOptions& options(SparseCase& c) { return options_of<HeadGatingOptions>(c); }

const auto& mechanism = test_sparse<&attenta::head_gating, naive_head_gating>({
    .name = "head_gating",
    .variants = {{"always near", [](SparseCase& c) { options(c).threshold = 1e-6f; }},
                 {"always all", [](SparseCase& c) { options(c).threshold = 1 - 1e-6f; }},
                 {"no sink", [](SparseCase& c) { options(c).sink = 0; }},
                 {"window 1", [](SparseCase& c) { options(c).window = 1; }},
                 {"window beyond all", [](SparseCase& c) { options(c).window = 4096; }},
                 {"sink beyond all", [](SparseCase& c) { options(c).sink = 4096; }},
                 {"scaled", [](SparseCase& c) { options(c).scale = 0.7f; }}},
    .sizes =
        [](SparseCase& c) {
            c.sizes["TD"] = c.shape.D;
            options(c) = {.sink = 3, .window = 20, .threshold = 0.25f};
        },
    .fill =
        [](SparseCase& c) {  // of the keys of some prompt
            attenta::Heads<float>&mean = c.view("mean"), &cov = c.view("cov");
            const std::int64_t dim = c.shape.D, count = 50;
            for (std::int64_t h = 0; h < mean.heads; ++h) {
                const auto keys = random_tensor(c.random, 1, count, dim);
                for (std::int64_t a = 0; a < dim; ++a) {
                    mean.row(h, 0)[a] *= 0.2f;
                    for (std::int64_t b = 0; b < dim; ++b) {
                        double sum = 0;
                        for (std::int64_t t = 0; t < count; ++t)
                            sum += double{keys.view().row(0, t)[a]} * double{keys.view().row(0, t)[b]};
                        cov.row(h, a)[b] = static_cast<float>(sum / static_cast<double>(count));
                    }
                }
            }
        },
    .outputs = {{"long_context", set_output<&attenta::HeadGatingOutputs::long_context>},
                {"local_share", set_output<&attenta::HeadGatingOutputs::local_share>}},
});

TEST(HeadGating, GivesSharesAndDecisions) {
    SparseCase c = sparse_case(mechanism, {4, 2, 30, 90, 16, 8}, 0, 41);
    const auto x = inputs_of<HeadGatingInputs>(c);
    std::vector<std::int64_t> long_context(120);
    std::vector<float> share(120);
    Output out = output_of(c);
    attenta::HeadGatingOutputs to;
    to.o = out.o.view();
    to.long_context = long_context.data();
    to.local_share = share.data();
    attenta::head_gating(x, to, options(c));
    std::int64_t longs = 0;
    for (std::size_t n = 0; n < 120; ++n) {
        const auto row = static_cast<std::int64_t>(n);
        const double want = expected_share(x, options(c), row / 30, row % 30);
        EXPECT_NEAR(want, double{share[n]}, 1e-5);
        EXPECT_EQ(want < double{options(c).threshold}, long_context[n] == 1);
        longs += long_context[n];
    }
    EXPECT_GT(longs, 10);
    EXPECT_LT(longs, 110);
}

/// Estimates that no float holds are compared as logarithms.
TEST(HeadGating, FarThatOverflows) {
    SparseCase c = sparse_case(mechanism, {2, 1, 5, 60, 8, 8}, 0, 43);
    for (std::int64_t a = 0; a < 8; ++a)
        for (std::int64_t b = 0; b < 8; ++b) c.view("cov").row(0, a)[b] = a == b ? 1e6f : 0;
    std::vector<float> share(10, 7.f);
    std::vector<std::int64_t> long_context(10);
    Output out = output_of(c);
    attenta::HeadGatingOutputs to;
    to.o = out.o.view();
    to.long_context = long_context.data();
    to.local_share = share.data();
    attenta::head_gating(inputs_of<HeadGatingInputs>(c), to, options(c));
    EXPECT_EQ(share, std::vector<float>(10, 0.f));
    EXPECT_EQ(long_context, std::vector<std::int64_t>(10, 1));
}

TEST(HeadGatingErrors, OptionsAndCovariance) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        SparseCase c = sparse_case(mechanism, {4, 2, 9, 57, 16, 16});
        spoil(c);
        Output out = output_of(c);
        Context context;
        const auto result = refuses([&] { call(c, out, context); }, words);
        const float fresh = untouched<float>();
        for (const float y : out.o.memory()) EXPECT_TRUE(same_bits(&y, &fresh, 1));
        return result;
    };
    EXPECT_TRUE(refused({"head_gating", "sink", "1", "0"}, [](SparseCase& c) { options(c).sink = -1; }));
    EXPECT_TRUE(refused({"head_gating", "window", "0", "1"}, [](SparseCase& c) { options(c).window = 0; }));
    for (const float bad : {0.f, 1.f, -3.f, std::numeric_limits<float>::quiet_NaN()})
        EXPECT_TRUE(refused({"head_gating", "threshold"}, [&](SparseCase& c) { options(c).threshold = bad; }));
    EXPECT_TRUE(refused({"head_gating", "cov", "15", "16"}, [](SparseCase& c) { c.view("cov").tokens = 15; }));
    EXPECT_TRUE(refused({"head_gating", "cov", "positive"}, [](SparseCase& c) {
        for (std::int64_t a = 0; a < 16; ++a) c.view("cov").row(1, a)[a] -= 9;
    }));
}

}  // namespace
}  // namespace attenta_test
