// Nyström attention equals its definition, converged or not; its own errors.
#include <attenta/lowrank/nystrom.hpp>

#include "lowrank/support/lowrank.hpp"

namespace attenta_test {
namespace {

using attenta::NystromInit, attenta::NystromInputs, attenta::NystromOptions, attenta::nystrom;

/// m segments of T // m tokens, the last T mod m with one more.
Mat segment_means(const Mat& x, std::int64_t m) {
    Mat means(m, x.cols());
    std::int64_t at = 0;
    for (std::int64_t i = 0; i < m; ++i) {
        const std::int64_t size = x.rows() / m + (i >= m - x.rows() % m ? 1 : 0);
        for (std::int64_t n = 0; n < size; ++n, ++at)
            for (std::int64_t c = 0; c < x.cols(); ++c) means(i, c) += x(at, c) / static_cast<double>(size);
    }
    return means;
}

double largest_column_sum(const Mat& a) {
    double most = 0;
    for (std::int64_t c = 0; c < a.cols(); ++c) {
        double sum = 0;
        for (std::int64_t r = 0; r < a.rows(); ++r) sum += a(r, c);
        most = std::max(most, sum);
    }
    return most;
}

/// Z <- 1/4 Z (13 I − A Z (15 I − A Z (7 I − A Z)))
Mat inverse(const Mat& a, double norm, std::int64_t iterations) {
    const auto eye = [&](double c) { return Mat::identity(a.rows(), c); };
    Mat z = 1 / norm * a.transposed();
    for (std::int64_t i = 0; i < iterations; ++i) {
        const Mat az = a * z;
        z = 0.25 * z * (eye(13) - az * (eye(15) - az * (eye(7) - az)));
    }
    return z;
}

std::vector<Mat> naive_nystrom(const NystromInputs& x, const NystromOptions& options) {
    const double scale = double{options.scale.value_or(default_scale(x.q.dim))};
    const std::int64_t m = options.landmarks;
    std::vector<Mat> a, o;
    const auto kv_head = [&](std::int64_t h) { return h / (x.q.heads / x.k.heads); };
    const auto scores = [&](const Mat& q, const Mat& k) { return softmax_rows(scale * q * k.transposed()); };
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        a.push_back(scores(segment_means(Mat(x.q, h), m), segment_means(Mat(x.k, kv_head(h)), m)));
    double most = 0;
    for (const Mat& one : a) most = std::max(most, largest_column_sum(one));
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        const Mat q(x.q, h), k(x.k, kv_head(h)), v(x.v, kv_head(h));
        const Mat& own = a[static_cast<std::size_t>(h)];
        if (m == q.rows() && m == k.rows()) {
            o.push_back(scores(q, k) * v);
        } else {
            const Mat z =
                inverse(own, options.init == NystromInit::global ? most : largest_column_sum(own), options.iterations);
            o.push_back(scores(q, segment_means(k, m)) * z * (scores(segment_means(q, m), k) * v));
        }
        for (std::int64_t i = 0; x.conv_weight.data && i < q.rows(); ++i)
            for (std::int64_t c = 0; c < x.conv_weight.dim; ++c)
                if (const std::int64_t j = i + c - x.conv_weight.dim / 2; j >= 0 && j < v.rows())
                    for (std::int64_t e = 0; e < v.cols(); ++e)
                        o.back()(i, e) += double{x.conv_weight.row(h, 0)[c]} * v(j, e);
    }
    return o;
}

struct Case {
    std::int64_t Hq, Hkv, Tq, Tk, D, Dv, m, taps, iterations;
    NystromInit init;
};

struct Drawn {
    Tensor<float> q, k, v, conv;
    explicit Drawn(const Case& c, float gain = 1) {
        Random random(11);
        q = random_tensor(random, c.Hq, c.Tq, c.D, Order::token_head, 2, gain);
        k = random_tensor(random, c.Hkv, c.Tk, c.D, Order::token_head, 1, gain);
        v = random_tensor(random, c.Hkv, c.Tk, c.Dv, Order::head_token, 5);
        if (c.taps > 0) conv = random_tensor(random, c.Hq, 1, c.taps, Order::head_token, 1, 0.3f);
    }
    NystromInputs inputs() const { return {q.view(), k.view(), v.view(), conv.view()}; }
};

TEST(Nystrom, EqualsItsDefinition) {
    constexpr auto per_head = NystromInit::per_head, global = NystromInit::global;
    for (const Case& c :
         {Case{1, 1, 1, 1, 1, 1, 1, 1, 6, per_head}, Case{1, 1, 3, 2, 5, 1, 1, 0, 6, per_head},
          Case{2, 2, 32, 32, 8, 8, 8, 5, 6, per_head}, Case{4, 2, 23, 37, 10, 7, 6, 0, 6, global},
          Case{3, 1, 41, 41, 16, 24, 40, 3, 6, global}, Case{6, 2, 29, 29, 33, 40, 29, 7, 6, global},
          Case{2, 1, 70, 9, 24, 16, 9, 0, 1, per_head}, Case{2, 2, 19, 67, 12, 9, 5, 0, 0, per_head},
          Case{2, 2, 300, 311, 20, 65, 64, 0, 3, per_head}, Case{2, 2, 35, 35, 20, 65, 7, 41, 2, global}}) {
        SCOPED_TRACE(testing::Message() << "Tq " << c.Tq << " Tk " << c.Tk << " m " << c.m);
        const Drawn d(c);
        NystromOptions options;
        options.landmarks = c.m, options.iterations = c.iterations, options.init = c.init;
        expect_heads(naive_nystrom(d.inputs(), options),
                     [&](attenta::Heads<float> o, Context& context) { nystrom(d.inputs(), o, options, context); });
        options.scale = 0.4f;
        expect_heads(naive_nystrom(d.inputs(), options),
                     [&](attenta::Heads<float> o, Context& context) { nystrom(d.inputs(), o, options, context); });
    }
}

/// Landmarks that are all equal make A singular: the steps are those of the definition still.
TEST(Nystrom, StepsDoNotConverge) {
    const Case c{2, 1, 64, 64, 8, 8, 16, 0, 6, NystromInit::per_head};
    for (const float gain : {0.f, 1e-3f, 4.f}) {
        const Drawn d(c, gain);
        for (const std::int64_t iterations : {2, 6, 12}) {
            NystromOptions options;
            options.landmarks = c.m, options.iterations = iterations;
            expect_heads(naive_nystrom(d.inputs(), options),
                         [&](attenta::Heads<float> o, Context& context) { nystrom(d.inputs(), o, options, context); },
                         {.absolute = 1e-4, .relative = 5e-4});
        }
    }
}

TEST(NystromErrors, SaysWhatDoesNotFit) {
    const Case c{4, 2, 12, 12, 8, 6, 4, 3, 6, NystromInit::per_head};
    const Drawn d(c);
    const View sizes{nullptr, 4, 12, 6, 0, 0};
    using X = NystromInputs;
    using O = NystromOptions;
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        X x = d.inputs();
        O options;
        options.landmarks = 4;
        change(x, options);
        return refuses_to_write(
            sizes, [&](attenta::Heads<float> to) { nystrom(x, to, options); }, words);
    };
    EXPECT_TRUE(refused([](X&, O& o) { o.landmarks = 0; }, {"nystrom", "landmarks", "0", "1"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.landmarks = 13; }, {"nystrom", "landmarks", "13", "12"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.iterations = -1; }, {"nystrom", "iterations", "1", "0"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.scale = INFINITY; }, {"nystrom", "scale", "inf"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.conv_weight.dim = 2; }, {"nystrom", "conv_weight", "2", "odd"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.conv_weight.heads = 2; }, {"nystrom", "conv_weight", "2", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.k.tokens = x.v.tokens = 11; }, {"nystrom", "q", "12", "11"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.v.tokens = 11; }, {"nystrom", "v", "11", "12"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.q.heads = 3, x.conv_weight.data = nullptr; }, {"nystrom", "q", "3", "2"}));
    EXPECT_TRUE(refused(
        [](X& x, O& o) {
            x.q.token_stride = x.k.token_stride = x.v.token_stride = 0;
            x.q.tokens = x.k.tokens = x.v.tokens = o.landmarks = std::int64_t{1} << 40;
        },
        {"nystrom", "memory"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.q.tokens = std::int64_t{1} << 62; }, {"nystrom", "q"}));
    EXPECT_TRUE(refuses(
        [&] {
            nystrom(d.inputs(), {d.q.view().data, 4, 12, 6, 72, 6}, {.landmarks = 4});
        },
        {"nystrom", "o", "q"}));
}

}  // namespace
}  // namespace attenta_test
