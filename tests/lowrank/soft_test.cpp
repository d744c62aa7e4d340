// SOFT equals its definition, with landmarks near each other too; its own errors.
#include <attenta/lowrank/soft.hpp>

#include "lowrank/support/lowrank.hpp"

namespace attenta_test {
namespace {

using attenta::SoftInputs, attenta::SoftOptions, attenta::soft;

/// κ(a, b) = exp(−scale |a − b|² / 2)
Mat kernel(const Mat& a, const Mat& b, double scale) {
    Mat k(a.rows(), b.rows());
    for (std::int64_t i = 0; i < a.rows(); ++i)
        for (std::int64_t j = 0; j < b.rows(); ++j) {
            double squares = 0;
            for (std::int64_t c = 0; c < a.cols(); ++c) squares += (a(i, c) - b(j, c)) * (a(i, c) - b(j, c));
            k(i, j) = std::exp(-scale * squares / 2);
        }
    return k;
}

/// The largest column sum of absolute values.
double one_norm(const Mat& a) {
    double most = 0;
    for (std::int64_t c = 0; c < a.cols(); ++c) {
        double sum = 0;
        for (std::int64_t r = 0; r < a.rows(); ++r) sum += std::abs(a(r, c));
        most = std::max(most, sum);
    }
    return most;
}

Mat inverse(const Mat& a, const SoftOptions& o) {
    const double ridge = double{o.ridge.value_or(o.normalize ? 0.f : 0.01f)},
                 init = double{o.init_factor.value_or(o.normalize ? 2.f : 1.8f)};
    const Mat eye = Mat::identity(a.rows()), p = a + ridge * eye;
    const double largest = one_norm(a);
    Mat x = init / (largest * largest) * p;
    for (int i = 0; o.normalize && i < 10 && one_norm(eye - p * x) > 1.01; ++i) x = 0.5 * x;
    for (std::int64_t i = 0; i < o.iterations; ++i) x = 2 * x - x * p * x;
    if (!o.normalize) return x;
    Mat d(a.rows(), a.rows());
    for (std::int64_t i = 0; i < a.rows(); ++i) {
        for (std::int64_t j = 0; j < a.rows(); ++j) d(i, i) += a(i, j);
        d(i, i) = 1 / std::sqrt(d(i, i));
    }
    return d * x * d;
}

std::vector<Mat> naive_soft(const SoftInputs& x, const SoftOptions& options) {
    const double scale = double{options.scale.value_or(default_scale(x.q.dim))};
    std::vector<Mat> o;
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        const Mat q(x.q, h), v(x.v, h);
        if (x.landmarks.data) {
            const Mat l(x.landmarks, h), c = kernel(q, l, scale);
            o.push_back(c * inverse(kernel(l, l, scale), options) * (c.transposed() * v));
        } else {
            o.push_back(kernel(q, q, scale) * v);
        }
        if (!x.conv_weight.data) continue;
        const std::int64_t half = x.conv_weight.dim / 2, rows = options.grid_height, cols = options.grid_width;
        for (std::int64_t t = 0; t < q.rows(); ++t)
            for (std::int64_t a = -half; a <= half; ++a)
                for (std::int64_t b = -half; b <= half; ++b)
                    if (const std::int64_t r = t / cols + a, c = t % cols + b; r >= 0 && r < rows && c >= 0 && c < cols)
                        for (std::int64_t e = 0; e < v.cols(); ++e)
                            o.back()(t, e) += double{x.conv_weight.row(h, a + half)[b + half]} * v(r * cols + c, e);
    }
    return o;
}

struct Case {
    std::int64_t H, height, width, D, Dv, m, taps;
    float gain, landmark_gain;
};

struct Drawn {
    Tensor<float> q, v, landmarks, conv;
    explicit Drawn(const Case& c) {
        Random random(13);
        const std::int64_t T = c.height * c.width;
        q = random_tensor(random, c.H, T, c.D, Order::token_head, 2, c.gain);
        v = random_tensor(random, c.H, T, c.Dv, Order::head_token, 5);
        if (c.m > 0) landmarks = random_tensor(random, c.H, c.m, c.D, Order::token_head, 1, c.landmark_gain);
        if (c.taps > 0) conv = random_tensor(random, c.H, c.taps, c.taps, Order::head_token, 1, 0.3f);
    }
    SoftInputs inputs() const { return {q.view(), v.view(), landmarks.view(), conv.view()}; }
};

void expect_definition(const Case& c, SoftOptions options, Tolerance tolerance = {}) {
    SCOPED_TRACE(testing::Message() << "T " << c.height << " x " << c.width << " m " << c.m << " normalize "
                                    << options.normalize);
    const Drawn d(c);
    options.grid_height = c.height, options.grid_width = c.width;
    expect_heads(
        naive_soft(d.inputs(), options),
        [&](attenta::Heads<float> o, Context& context) { soft(d.inputs(), o, options, context); }, tolerance);
}

TEST(Soft, EqualsItsDefinition) {
    for (const Case& c : {Case{1, 1, 1, 1, 1, 1, 1, 1, 1}, Case{2, 3, 5, 7, 1, 3, 3, 1, 1.5f},
                          Case{2, 5, 6, 8, 8, 6, 3, 1, 1.5f}, Case{3, 27, 1, 12, 7, 9, 0, 1, 0.8f},
                          Case{2, 1, 130, 33, 40, 20, 5, 0.7f, 1}, Case{1, 8, 40, 64, 64, 33, 7, 0.5f, 0.7f},
                          Case{2, 9, 9, 16, 24, 0, 3, 1, 1}, Case{2, 17, 1, 9, 10, 0, 0, 3, 1}})
        for (const bool normalize : {false, true}) {
            expect_definition(c, {.normalize = normalize});
            expect_definition(c, {.normalize = normalize, .iterations = 3, .scale = 0.2f});
        }
    expect_definition({2, 5, 6, 8, 8, 6, 0, 1, 1}, {.iterations = 0, .ridge = 0.5f, .init_factor = 1.f});
}

/// Two landmarks and two groups of them close to each other: X is no inverse, or has large numbers.
TEST(Soft, LandmarksNearEachOther) {
    for (const bool normalize : {false, true})
        for (const std::int64_t iterations : {5, 20})
            expect_definition({2, 9, 7, 8, 8, 12, 0, 0.7f, 0.5f}, {.normalize = normalize, .iterations = iterations},
                              {.absolute = 1e-4, .relative = 5e-4});
}

/// A point far from all others has only itself; an equal one is a full neighbour.
TEST(Soft, KernelIsNotNormalised) {
    const float q[] = {0, 0, 0, 0, 1000, 1000}, v[] = {1, 10, 100};
    float o[3];
    soft({attenta::hnd(q, 1, 3, 2), attenta::hnd(v, 1, 3, 1)}, attenta::hnd(o, 1, 3, 1));
    EXPECT_FLOAT_EQ(o[0], 11);
    EXPECT_FLOAT_EQ(o[1], 11);
    EXPECT_FLOAT_EQ(o[2], 100);
}

TEST(SoftErrors, SaysWhatDoesNotFit) {
    const Drawn d({2, 3, 4, 8, 6, 5, 3, 1, 1});
    const View sizes{nullptr, 2, 12, 6, 0, 0};
    using X = SoftInputs;
    using O = SoftOptions;
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        X x = d.inputs();
        O options;
        options.grid_height = 3, options.grid_width = 4;
        change(x, options);
        return refuses_to_write(
            sizes, [&](attenta::Heads<float> to) { soft(x, to, options); }, words);
    };
    EXPECT_TRUE(refused([](X& x, O&) { x.conv_weight.dim = 2; }, {"soft", "conv_weight", "3", "2"}));
    EXPECT_TRUE(
        refused([](X& x, O&) { x.conv_weight.dim = x.conv_weight.tokens = 2; }, {"soft", "conv_weight", "odd"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.grid_width = 5; }, {"soft", "grid", "5", "12"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.grid_height = 0; }, {"soft", "grid_height", "0", "1"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.grid_height = o.grid_width = std::int64_t{1} << 62; }, {"soft", "grid"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.landmarks.dim = 7; }, {"soft", "landmarks", "7", "8"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.landmarks.heads = 1; }, {"soft", "landmarks", "1", "2"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.landmarks.tokens = 0; }, {"soft", "landmarks", "0"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.v.heads = 1; }, {"soft", "v", "1", "2"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.iterations = -1; }, {"soft", "iterations", "1", "0"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.scale = -1.f; }, {"soft", "scale", "0"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.ridge = std::nanf(""); }, {"soft", "ridge", "nan"}));
    EXPECT_TRUE(refuses(
        [&] {
            soft(d.inputs(), {d.v.view().data, 2, 12, 6, 72, 6}, {.grid_height = 3, .grid_width = 4});
        },
        {"soft", "o", "v"}));
}

}  // namespace
}  // namespace attenta_test
