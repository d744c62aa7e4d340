// The sparse distributed memory equals its definition in all modes; its tables against counts and integrals; its own errors.
#include <attenta/variants/structured/sdm.hpp>
#include <attenta/variants/structured/sdm_tables.hpp>

#include <limits>

#include "support/maps.hpp"

namespace attenta_test {
namespace {

using attenta::SdmFit, attenta::SdmInputs, attenta::SdmMiss, attenta::SdmMode, attenta::SdmOptions, attenta::sdm;
namespace tables = attenta::sdm_tables;

constexpr double infinity = std::numeric_limits<double>::infinity();

double choose(std::int64_t n, std::int64_t k) {
    double product = 1;
    for (std::int64_t i = 1; i <= k; ++i) product *= static_cast<double>(n - k + i) / static_cast<double>(i);
    return product;
}

/// Σ_c C(n − d, c) Σ_i C(d, i) [i + c ≤ r][d − i + c ≤ r]: c bits differ where the points agree, i where they do not.
double shared_addresses(std::int64_t n, std::int64_t r, std::int64_t d) {
    double sum = 0;
    for (std::int64_t c = 0; c <= n - d; ++c)
        for (std::int64_t i = 0; i <= d; ++i)
            if (i + c <= r && d - i + c <= r) sum += choose(n - d, c) * choose(d, i);
    return sum;
}

/// 2 ∫_{t/2}^{θ} sin^{n−2} φ ∫_0^{arccos(tan(t/2)/tan φ)} sin^{n−3} x dx dφ, by the midpoint rule.
double shared_cap(std::int64_t n, std::int64_t r, double cosine) {
    const double theta = std::acos(1 - 2 * static_cast<double>(r) / static_cast<double>(n)),
                 half = std::acos(std::min(cosine, 1.0)) / 2;
    if (half >= theta) return 0;
    const int steps = 400;
    const auto middle = [](double low, double high, auto&& f) {
        double sum = 0;
        for (int i = 0; i < steps; ++i) sum += f(low + (high - low) * (i + 0.5) / steps) * (high - low) / steps;
        return sum;
    };
    return 2 * middle(0, 1, [&](double z) {
               const double phi = half + (theta - half) * z * z;
               const double inner = middle(0, std::acos(std::min(1.0, std::tan(half) / std::tan(phi))),
                                           [&](double x) { return std::pow(std::sin(x), static_cast<double>(n - 3)); });
               return std::pow(std::sin(phi), static_cast<double>(n - 2)) * inner * 2 * (theta - half) * z;
           });
}

TEST(SdmTables, BallsShareWhatIsCounted) {
    for (const auto& [n, r] : {std::pair{3, 1}, {12, 3}, {33, 5}, {40, 15}, {64, 31}}) {
        const std::vector<double> logs = tables::balls(n, r);
        ASSERT_EQ(std::ssize(logs), n + 1);
        for (std::int64_t d = 0; d <= n; ++d) {
            const double want = shared_addresses(n, r, d) / shared_addresses(n, r, 0);
            EXPECT_NEAR(std::exp(logs[static_cast<std::size_t>(d)]), want, 1e-10 * want) << n << " " << r << " " << d;
        }
    }
    const std::vector<double> large = tables::balls(1000, 451);
    EXPECT_EQ(large[1], large[2]);
    EXPECT_GT(large[902], -infinity);
    EXPECT_EQ(large[903], -infinity);
}

TEST(SdmTables, CapsShareWhatIntegralsSay) {
    for (const auto& [n, r] : {std::pair{3, 1}, {4, 1}, {24, 9}, {7, 3}, {64, 20}}) {
        const tables::CapSpline spline = tables::cap_spline(n, r);
        const double whole = shared_cap(n, r, 1);
        for (const double cosine : {0.9995, 0.97, 0.8, 0.41, 0.1, -0.2, -0.5, -0.9}) {
            const double share = shared_cap(n, r, cosine), angle = std::acos(cosine) / 2;
            const double y = std::sin(angle) / double{spline.reach};
            if (y >= 1) {
                EXPECT_EQ(share, 0);
                continue;
            }
            const double exact = tables::caps(n, r, std::vector{angle})[0];
            EXPECT_NEAR(exact, std::log(share / whole), 2e-3) << n << " " << r << " " << cosine;
            const double place = y * tables::CapSpline::pieces, f = place - std::floor(place);
            const float* const c = spline.coefficients.data() + 4 * static_cast<std::ptrdiff_t>(place);
            const double smooth = double{c[0]} + f * (double{c[1]} + f * (double{c[2]} + f * double{c[3]}));
            EXPECT_NEAR(smooth + double{spline.power} * std::log1p(-y), exact, 1e-5 + 1e-6 * std::abs(exact))
                << n << " " << r << " " << cosine;
        }
    }
}

/// The slope of the least-squares line of ln w against 1 − 2d/n.
double naive_beta(std::int64_t n, const SdmOptions& o) {
    std::vector<double> x, y = tables::balls(n, o.radius);
    for (std::int64_t d = 0; d < o.radius; ++d) x.push_back(1 - 2 * static_cast<double>(d) / static_cast<double>(n));
    if (o.fit == SdmFit::continuous) {
        std::vector<double> angles;
        for (const double cosine : x) angles.push_back(std::acos(cosine) / 2);
        y = tables::caps(n, o.radius, angles);
    }
    const auto count = static_cast<double>(o.radius);
    double mean_x = 0, mean_y = 0, together = 0, squares = 0;
    for (std::size_t d = 0; d < x.size(); ++d) mean_x += x[d] / count, mean_y += y[d] / count;
    for (std::size_t d = 0; d < x.size(); ++d)
        together += (x[d] - mean_x) * (y[d] - mean_y), squares += (x[d] - mean_x) * (x[d] - mean_x);
    return together / (count - static_cast<double>(o.ddof)) * count / squares;
}

/// ln w of a query with each key.
std::vector<double> log_weights(const SdmInputs& in, const SdmOptions& o, const float* q, std::int64_t g) {
    const std::int64_t n = in.q.dim;
    const double theta = std::acos(1 - 2 * static_cast<double>(o.radius) / static_cast<double>(n));
    const std::vector<double> balls = tables::balls(n, o.radius);
    const double beta = o.mode == SdmMode::softmax ? naive_beta(n, o) : 0;
    std::vector<double> logs, angles;
    for (std::int64_t j = 0; j < in.k.tokens; ++j) {
        const float* const k = in.k.row(g, j);
        double differ = 0, product = 0, of_q = 0, of_k = 0;
        for (std::int64_t i = 0; i < n; ++i) {
            const double x = double{q[i]}, y = double{k[i]};
            differ += x != y ? 1 : 0;
            product += x * y, of_q += x * x, of_k += y * y;
        }
        const double cosine = std::min(1.0, product / std::sqrt(of_q * of_k));
        const double distance =
            o.mode == SdmMode::binary ? differ : std::floor(static_cast<double>(n) * (1 - cosine) / 2);
        logs.push_back(o.mode == SdmMode::softmax ? beta * cosine : balls[static_cast<std::size_t>(distance)]);
        angles.push_back(std::acos(cosine) / 2);
    }
    if (o.mode != SdmMode::continuous) return logs;
    std::vector<double> rising;
    for (const double angle : angles)
        if (angle < theta) rising.push_back(angle);
    std::sort(rising.begin(), rising.end());
    const std::vector<double> caps = tables::caps(n, o.radius, rising);
    for (std::size_t j = 0; j < angles.size(); ++j) {
        const auto at =
            static_cast<std::size_t>(std::lower_bound(rising.begin(), rising.end(), angles[j]) - rising.begin());
        logs[j] = angles[j] < theta ? caps[at] : -infinity;
    }
    return logs;
}

std::vector<Mat> naive_sdm(const SdmInputs& in, const SdmOptions& o) {
    std::vector<Mat> all;
    for (std::int64_t h = 0; h < in.q.heads; ++h) {
        const std::int64_t g = h / (in.q.heads / in.k.heads);
        Mat out(in.q.tokens, in.v.dim);
        for (std::int64_t i = 0; i < in.q.tokens; ++i) {
            const std::vector<double> logs = log_weights(in, o, in.q.row(h, i), g);
            const double top = *std::max_element(logs.begin(), logs.end());
            double sum = 0;
            for (std::int64_t j = 0; j < in.k.tokens && top > -infinity; ++j) {
                const double w = std::exp(logs[static_cast<std::size_t>(j)] - top);
                sum += w;
                for (std::int64_t c = 0; c < in.v.dim; ++c) out(i, c) += w * double{in.v.row(g, j)[c]};
            }
            for (std::int64_t c = 0; c < in.v.dim; ++c)
                if (sum > 0)
                    out(i, c) /= sum;
                else if (o.on_miss == SdmMiss::query)
                    out(i, c) = double{in.q.row(h, i)[c]};
        }
        all.push_back(out);
    }
    return all;
}

struct Case {
    std::int64_t Hq, Hkv, Tq, Tk, D, Dv, radius;
};

struct Drawn {
    Tensor<float> q, k, v;

    /// Queries are noisy copies of keys: bits, or numbers.
    Drawn(const Case& c, bool bits, double noise = 0.2) {
        Random random(31);
        q = random_tensor(random, c.Hq, c.Tq, c.D, Order::token_head, 2);
        k = random_tensor(random, c.Hkv, c.Tk, c.D, Order::head_token, 1);
        v = random_tensor(random, c.Hkv, c.Tk, c.Dv, Order::token_head, 3);
        if (bits)
            k.each_row([&](float* x, std::int64_t, std::int64_t) {
                for (std::int64_t i = 0; i < c.D; ++i) x[i] = x[i] > 0 ? 1.f : 0.f;
            });
        q.each_row([&](float* x, std::int64_t h, std::int64_t) {
            const float* const from = k.row(h / (c.Hq / c.Hkv), random.integer(0, c.Tk - 1));
            for (std::int64_t i = 0; i < c.D; ++i) {
                const bool flip = random.chance(noise);
                x[i] = bits ? (flip ? 1 - from[i] : from[i]) : from[i] + 0.4f * x[i];
            }
        });
    }
    SdmInputs inputs() const { return {q.view(), k.view(), v.view()}; }
};

void expect_definition(const Case& c, const Drawn& d, SdmOptions options, Tolerance tolerance = {}) {
    options.radius = c.radius;
    SCOPED_TRACE(testing::Message() << "mode " << int(options.mode) << " D " << c.D << " Tk " << c.Tk);
    expect_heads(
        naive_sdm(d.inputs(), options),
        [&](attenta::Heads<float> o, Context& context) { sdm(d.inputs(), {o}, options, context); }, tolerance);
}

TEST(Sdm, EqualsItsDefinition) {
    for (const Case& c : {Case{1, 1, 1, 1, 3, 1, 1}, Case{4, 2, 13, 27, 40, 17, 15}, Case{2, 1, 1, 130, 33, 33, 10},
                          Case{3, 3, 70, 9, 64, 20, 30}, Case{6, 2, 5, 300, 100, 7, 40}}) {
        const Drawn bits(c, true), numbers(c, false);
        expect_definition(c, bits, {});
        expect_definition(c, numbers, {.mode = SdmMode::continuous}, {1e-4, 1e-3});
        if (c.radius < 2) continue;
        for (const SdmFit fit : {SdmFit::binary, SdmFit::continuous})
            expect_definition(c, numbers,
                              {.mode = SdmMode::softmax, .fit = fit, .ddof = fit == SdmFit::binary ? 0 : 1});
    }
}

/// Places of bins are drawn away from their edges.
TEST(Sdm, CosinesInBins) {
    const Case c{2, 2, 9, 31, 28, 9, 11};
    const Drawn d(c, false);
    for (std::int64_t h = 0; h < 2; ++h)
        for (std::int64_t j = 0; j < 31; ++j) {
            float* const k = d.k.row(h, j);
            const auto near_an_edge = [&] {
                for (std::int64_t i = 0; i < 9; ++i) {
                    double product = 0, of_q = 0, of_k = 0;
                    for (std::int64_t e = 0; e < 28; ++e) {
                        const double x = double{d.q.row(h, i)[e]}, y = double{k[e]};
                        product += x * y, of_q += x * x, of_k += y * y;
                    }
                    const double place = 28 * (1 - product / std::sqrt(of_q * of_k)) / 2;
                    if (std::abs(place - std::round(place)) < 1e-4) return true;
                }
                return false;
            };
            while (near_an_edge()) k[0] += 0.01f;
        }
    expect_definition(c, d, {.mode = SdmMode::cosine_binned});
    SdmOptions options{.mode = SdmMode::cosine_binned, .radius = 11};
    std::vector<float> table(29);
    const Tensor<float> o(2, 9, 9);
    sdm(d.inputs(), {o.view(), table.data()}, options);
    for (std::size_t i = 0; i < table.size(); ++i)
        EXPECT_FLOAT_EQ(table[i], static_cast<float>(std::exp(tables::balls(28, 11)[i])));
}

TEST(Sdm, QueriesWithoutKeys) {
    const Case c{2, 1, 21, 19, 33, 33, 5};
    const Drawn bits(c, true, 0.25), numbers(c, false);
    for (const SdmMiss miss : {SdmMiss::zero, SdmMiss::query}) {
        expect_definition(c, bits, {.on_miss = miss});
        expect_definition(c, numbers, {.mode = SdmMode::continuous, .on_miss = miss}, {1e-4, 1e-3});
    }
}

/// A NaN in a query stays in its row.
TEST(Sdm, NanStaysInItsRow) {
    const Case c{1, 1, 7, 30, 24, 24, 9};
    const Drawn d(c, false);
    d.q.row(0, 3)[5] = std::nanf("");
    for (const SdmMode mode : {SdmMode::cosine_binned, SdmMode::continuous, SdmMode::softmax}) {
        const Tensor<float> o(1, 7, 24);
        sdm(d.inputs(), {o.view()}, {.mode = mode, .radius = 9});
        for (std::int64_t i = 0; i < 7; ++i) EXPECT_EQ(std::isnan(o.row(0, i)[0]), i == 3) << int(mode);
    }
}

TEST(SdmErrors, SaysWhatDoesNotFit) {
    const Drawn d({4, 2, 3, 5, 12, 6, 5}, true);
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        SdmInputs x = d.inputs();
        SdmOptions options{.radius = 5};
        change(x, options);
        return refuses_to_write(
            {nullptr, 4, 3, 6, 0, 0}, [&](attenta::Heads<float> o) { sdm(x, {o}, options); }, words);
    };
    using X = SdmInputs;
    using O = SdmOptions;
    EXPECT_TRUE(refused([](X&, O& o) { o.radius = 0; }, {"sdm", "radius", "0", "1"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.radius = 6; }, {"sdm", "radius", "6", "12"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.mode = SdmMode::softmax, o.radius = 1; }, {"sdm", "radius", "1", "2"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.ddof = 2; }, {"sdm", "ddof", "2"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.on_miss = SdmMiss::query; }, {"sdm", "v", "6", "12"}));
    EXPECT_TRUE(
        refused([](X& x, O& o) { x.q.dim = x.k.dim = 2, o.radius = 0, o.mode = SdmMode::continuous; }, {"sdm"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.q.heads = 3; }, {"sdm", "q", "3", "2"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.k.dim = 11; }, {"sdm", "k", "11", "12"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.k.tokens = 0; }, {"sdm", "k", "0"}));
    EXPECT_TRUE(refuses([&] { sdm(d.inputs(), {d.v.view()}, {.radius = 5}); }, {"sdm", "o"}));
    d.k.row(1, 3)[2] = 0.5f;
    EXPECT_TRUE(refused([](X&, O&) {}, {"sdm", "k", "3", "1", "bits"}));
    std::fill_n(d.q.row(2, 1), 12, 0.f);
    EXPECT_TRUE(refused([](X&, O& o) { o.mode = SdmMode::softmax; }, {"sdm", "q", "1", "2", "zeros"}));
    d.k.row(1, 3)[2] = std::nanf("");
    EXPECT_TRUE(refused([](X&, O& o) { o.check_data = true; }, {"sdm", "k", "nan"}));
}

}  // namespace
}  // namespace attenta_test
