#include <attenta/variants/locations/monotonic_location.hpp>

#include "support/errors.hpp"
#include "variants/network/naive_network.hpp"
#include "variants/support/call.hpp"

namespace attenta_test {
namespace {

using attenta::LocationMode, attenta::LocationPast, attenta::LocationStep, attenta::MonotonicLocationInputs,
    attenta::MonotonicLocationOptions, attenta::MonotonicLocationOutputs;

double naive_centre(const MonotonicLocationInputs& x, const MonotonicLocationOptions& o, const std::vector<double>& rho,
                    double past, double delta, std::int64_t i) {
    const auto stair = [&](double r) {
        return std::floor(r) + naive_sigmoid_of(double{o.stair_temperature} * (r - std::floor(r) - 0.5));
    };
    const auto leaky = [](double v) { return std::max(0.01 * v, std::min(v, 1 + 0.01 * v)); };
    if (o.mode == LocationMode::full)
        return leaky(stair(rho[0]) * delta + naive_sigmoid_of(rho[1]) * past + naive_sigmoid_of(rho[2]));
    if (o.mode == LocationMode::simple)
        return leaky(stair(rho[0]) * delta + past + (i == 0 && x.state.empty() ? naive_sigmoid_of(rho[1]) : 0));
    double step = rho[0];
    if (o.step == LocationStep::sigmoid) step = naive_sigmoid_of(5 * rho[0]);
    if (o.step == LocationStep::relu) step = std::max(0.0, rho[0]);
    if (o.step == LocationStep::softstair) step = stair(rho[0]);
    if (o.step == LocationStep::controlled_relu) {
        const double b = naive_sigmoid_of(double{x.step_bias[0]});
        step = b * std::max(0.0, rho[0]) + (1 - b) * naive_sigmoid_of(5 * rho[0]);
    }
    return step * delta + past;
}

Wanted definition(const MonotonicLocationInputs& x, const MonotonicLocationOptions& o) {
    const std::int64_t H = x.q_position.heads, Tq = x.q_position.tokens, Tk = x.v.tokens, group = H / x.v.heads;
    const double delta = 1 / static_cast<double>(std::max<std::int64_t>(1, Tk - 1));
    Wanted want;
    for (std::int64_t h = 0; h < H; ++h) {
        double past = x.state.empty() ? 0 : double{x.state.data()[h]};
        for (std::int64_t i = 0; i < Tq; ++i) {
            double projected = 0;
            std::vector<double> rho(static_cast<std::size_t>(x.w_rho.dim));
            for (std::int64_t d = 0; d < x.q_position.dim; ++d) {
                const double y = double{x.q_position.row(h, i)[d]};
                projected += y * double{x.w_sigma.row(0, h)[d]};
                for (std::size_t n = 0; n < rho.size(); ++n) rho[n] += y * double{x.w_rho.row(h, d)[n]};
            }
            const double sigma = (std::max(0.0, projected) + 0.27) / static_cast<double>(Tk),
                         mu = naive_centre(x, o, rho, past, delta, i);
            std::vector<double> a, content;
            double sum = 0;
            for (std::int64_t j = 0; j < Tk; ++j) {
                const double away = static_cast<double>(j) * delta - mu;
                a.push_back(std::exp(-away * away / (2 * sigma * sigma)));
                sum += a.back() + 1e-20;
                if (x.q.data)
                    content.push_back(naive_scale(o.scale, x.q.dim) *
                                      naive_dot(wide(x.q.row(h, i), x.q.dim), wide(x.k.row(h / group, j), x.q.dim)));
            }
            const auto soft = x.q.data ? naive_softmax(content) : std::vector<double>(a.size());
            const double mix = x.q.data ? naive_sigmoid_of(double{x.mix.data()[i]}) : 1;
            std::vector<double> row(static_cast<std::size_t>(x.v.dim));
            past = 0;
            for (std::size_t j = 0; j < a.size(); ++j) {
                const double w = mix * a[j] / sum + (1 - mix) * soft[j];
                past += (o.past == LocationPast::position ? a[j] / sum : w) * static_cast<double>(j) * delta;
                for (std::size_t c = 0; c < row.size(); ++c)
                    row[c] += w * double{x.v.row(h / group, static_cast<std::int64_t>(j))[c]};
            }
            want["o"].insert(want["o"].end(), row.begin(), row.end());
            want["centre"].push_back(mu);
        }
        want["state"].push_back(past);
    }
    return want;
}

struct Case {
    Case(std::int64_t H, std::int64_t Hkv, std::int64_t Tq, std::int64_t Tk, LocationMode mode, bool content,
         bool state = false, float size = 1, std::int64_t pad = 0)
        : d(static_cast<std::uint64_t>(Tk + Tq), pad) {
        options.mode = mode;
        x.q_position = d.heads(H, Tq, 6), x.v = d.heads(Hkv, Tk, 7);
        x.w_sigma = d.matrix(H, 6), x.w_rho = d.heads(H, 6, static_cast<std::int64_t>(mode) + 1, 0.4f * size);
        if (content) x.q = d.heads(H, Tq, 5), x.k = d.heads(Hkv, Tk, 5), x.mix = d.vector(Tq);
        if (state) x.state = state_ = {0.3f, 0.9f, 0.5f, 0.1f}, x.state = x.state.first(static_cast<std::size_t>(H));
        x.step_bias = d.vector(1);
    }
    Results run(Context& context) const {
        const std::int64_t H = x.q_position.heads, Tq = x.q_position.tokens;
        Room o(H, Tq, x.v.dim);
        std::vector<float> centre(static_cast<std::size_t>(H * Tq)), state(static_cast<std::size_t>(H));
        attenta::monotonic_location(x, {o.view(), centre.data(), state.data()}, options, context);
        return {{"o", o.rows()}, {"centre", centre}, {"state", state}};
    }
    /// A Gaussian narrower than the spacing of keys magnifies the rounding of its centre.
    void expect_definition() const {
        expect_everywhere([&](Context& context) { return run(context); }, definition(x, options), 2e-4, 2e-3);
    }

    Drawn d;
    MonotonicLocationInputs x;
    MonotonicLocationOptions options;

private:
    std::vector<float> state_;
};

TEST(MonotonicLocation, HoldsForModes) {
    for (const auto mode : {LocationMode::monotonic, LocationMode::simple, LocationMode::full})
        for (const bool content : {false, true})
            for (const bool state : {false, true}) {
                Case(1, 1, 1, 1, mode, content, state).expect_definition();
                Case(4, 2, 9, 31, mode, content, state, 1, 2).expect_definition();
                Case(2, 1, 20, 150, mode, content, state).expect_definition();
            }
}

TEST(MonotonicLocation, HoldsForStepsAndPasts) {
    for (const auto step : {LocationStep::sigmoid, LocationStep::relu, LocationStep::controlled_relu,
                            LocationStep::softstair, LocationStep::free})
        for (const auto past : {LocationPast::mixed, LocationPast::position}) {
            Case c(2, 2, 7, 29, LocationMode::monotonic, true);
            c.options.step = step, c.options.past = past, c.options.scale = 0.7f;
            c.expect_definition();
        }
}

/// Centres that leave the source, where the definition's 1e-20 decides.
TEST(MonotonicLocation, CentresFarOutside) {
    Case c(2, 2, 6, 12, LocationMode::monotonic, false, false, 8);
    c.options.step = LocationStep::free;
    c.expect_definition();
}

/// Sequences can be cut anywhere.
TEST(MonotonicLocation, GoesOnFromItsState) {
    Case c(2, 1, 9, 40, LocationMode::simple, true);
    Context context;
    const Results whole = c.run(context);
    const MonotonicLocationInputs all = c.x;
    c.x.q_position = all.q_position.slice(0, 4), c.x.q = all.q.slice(0, 4), c.x.mix = all.mix.first(4);
    const Results first = c.run(context);
    c.x.q_position = all.q_position.slice(4, 5), c.x.q = all.q.slice(4, 5), c.x.mix = all.mix.subspan(4);
    c.x.state = first.at("state");
    const Results second = c.run(context);
    for (std::size_t h = 0; h < 2; ++h) EXPECT_NEAR(second.at("state")[h], whole.at("state")[h], 1e-5);
}

TEST(MonotonicLocation, KeepsNanInItsHead) {
    Case c(2, 1, 6, 12, LocationMode::monotonic, false);
    const_cast<float*>(c.x.q_position.row(1, 3))[0] = std::numeric_limits<float>::quiet_NaN();
    on_every_isa([&](Context& context) {
        const Results r = c.run(context);
        for (std::size_t row = 0; row < 12; ++row) EXPECT_EQ(std::isnan(r.at("o")[row * 7]), row >= 9) << row;
    });
}

TEST(MonotonicLocationErrors, RefusesWhatDoesNotFit) {
    const Case c(2, 1, 6, 12, LocationMode::monotonic, true, true);
    Room room(2, 6, 7);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            MonotonicLocationInputs x = c.x;
            MonotonicLocationOptions options = c.options;
            MonotonicLocationOutputs out{room.view()};
            change(x, options, out);
            attenta::monotonic_location(x, out, options);
        };
    };
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.mode = LocationMode::full; }),
                        {"monotonic_location", "w_rho", "1", "3"}));
    EXPECT_TRUE(
        refuses(call_with([](auto& x, auto& o, auto&) { o.step = LocationStep::controlled_relu, x.step_bias = {}; }),
                {"step_bias", "null"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.mix = {}; }), {"q", "k", "mix", "2"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.state = x.state.first(1); }), {"state", "1", "2"}));
    EXPECT_TRUE(
        refuses(call_with([](auto&, auto& o, auto&) { o.stair_temperature = INFINITY; }), {"stair_temperature"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.scale = NAN; }), {"scale"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& out) { out.o.dim = 6; }), {"o", "6", "7"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& out) { out.centre = out.o.data; }), {"centre", "o"}));
    EXPECT_TRUE(room.untouched_so_far());
}

}  // namespace
}  // namespace attenta_test
