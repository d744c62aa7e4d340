// The resonator equals its definition, real and complex; it finds factors; its own errors.
#include <attenta/variants/structured/resonator.hpp>

#include <complex>

#include "support/maps.hpp"

namespace attenta_test {
namespace {

using attenta::ResonatorInputs, attenta::ResonatorOptions, attenta::ResonatorOrder, attenta::ResonatorOutputs,
    attenta::ResonatorProjection, attenta::ResonatorUpdate, attenta::resonator;
using Complex = std::complex<double>;
using Row = std::vector<Complex>;

struct Naive {
    std::vector<Row> state;
    Mat weights;
};

Row project(Row z, ResonatorProjection how) {
    double squares = 0;
    for (const Complex& e : z) squares += std::norm(e);
    for (Complex& e : z) {
        const double x = e.real();
        if (how == ResonatorProjection::sign) e = x > 0 ? 1 : x < 0 ? -1 : 0;
        if (how == ResonatorProjection::phase && std::abs(e) > 0) e /= std::abs(e);
        if (how == ResonatorProjection::l2 && squares > 0) e *= std::sqrt(static_cast<double>(z.size()) / squares);
    }
    return z;
}

/// y_i = s Π conj(e_j), w = softmax(beta Re⟨x_m, y_i⟩) or that, e_i ← P(Σ w x_m)
Naive naive_resonator(const ResonatorInputs& in, const ResonatorOptions& options) {
    const std::int64_t F = in.codebook.heads, M = in.codebook.tokens, D = in.codebook.dim;
    const auto word = [&](std::int64_t f, std::int64_t m, std::int64_t d) {
        return Complex{double{in.codebook.row(f, m)[d]}, in.s_im.data() ? double{in.codebook_im.row(f, m)[d]} : 0};
    };
    Naive naive{{}, Mat(F, M)};
    for (std::int64_t f = 0; f < F; ++f) {
        Row e(static_cast<std::size_t>(D));
        for (std::int64_t d = 0; d < D; ++d)
            if (in.state.data)
                e[static_cast<std::size_t>(d)] = {double{in.state.row(0, f)[d]},
                                                  in.s_im.data() ? double{in.state_im.row(0, f)[d]} : 0};
            else
                for (std::int64_t m = 0; m < M; ++m) e[static_cast<std::size_t>(d)] += word(f, m, d);
        const bool projects =
            options.projection == ResonatorProjection::sign || options.projection == ResonatorProjection::phase;
        naive.state.push_back(!in.state.data && projects ? project(e, options.projection) : e);
    }
    for (std::int64_t step = 0; step < options.steps; ++step) {
        const std::vector<Row> old = naive.state;
        for (std::int64_t f = 0; f < F; ++f) {
            Mat c(1, M);
            for (std::int64_t d = 0; d < D; ++d) {
                const auto i = static_cast<std::size_t>(d);
                Complex y{double{in.s[i]}, in.s_im.data() ? double{in.s_im[i]} : 0};
                for (std::int64_t j = 0; j < F; ++j)
                    if (j != f)
                        y *= std::conj((options.order == ResonatorOrder::parallel
                                            ? old
                                            : naive.state)[static_cast<std::size_t>(j)][i]);
                for (std::int64_t m = 0; m < M; ++m) c(0, m) += (std::conj(word(f, m, d)) * y).real();
            }
            if (options.update == ResonatorUpdate::attention)
                c = softmax_rows(double{options.beta.value_or(default_scale(D))} * c);
            Row z(static_cast<std::size_t>(D));
            for (std::int64_t m = 0; m < M; ++m) {
                naive.weights(f, m) = c(0, m);
                for (std::int64_t d = 0; d < D; ++d) z[static_cast<std::size_t>(d)] += c(0, m) * word(f, m, d);
            }
            naive.state[static_cast<std::size_t>(f)] = project(z, options.projection);
        }
    }
    return naive;
}

struct Drawn {
    Tensor<float> codebook, codebook_im, state, state_im;
    std::vector<float> s, s_im;
    std::vector<std::int64_t> factors;
    bool complex;

    /// Signs or phases, and the product of one word of each book.
    Drawn(std::int64_t F, std::int64_t M, std::int64_t D, bool phases) : complex(phases) {
        Random random(29);
        codebook = random_tensor(random, F, M, D, Order::token_head, 3);
        codebook_im = random_tensor(random, F, M, D, Order::head_token, 1);
        state = random_tensor(random, F, 1, D, Order::head_token, 2);
        state_im = random_tensor(random, F, 1, D, Order::head_token, 5);
        codebook.each_row([&](float* x, std::int64_t f, std::int64_t m) {
            for (std::int64_t d = 0; d < D; ++d) {
                const double turn = 6.283185307179586 * random.uniform();
                x[d] = phases ? static_cast<float>(std::cos(turn)) : random.chance(0.5) ? 1.f : -1.f;
                codebook_im.row(f, m)[d] = static_cast<float>(std::sin(turn));
            }
        });
        for (std::int64_t f = 0; f < F; ++f) factors.push_back(random.integer(0, M - 1));
        for (std::int64_t d = 0; d < D; ++d) {
            Complex product = 1;
            for (std::int64_t f = 0; f < F; ++f) {
                const std::int64_t m = factors[static_cast<std::size_t>(f)];
                product *= Complex{double{codebook.row(f, m)[d]}, phases ? double{codebook_im.row(f, m)[d]} : 0};
            }
            s.push_back(static_cast<float>(product.real())), s_im.push_back(static_cast<float>(product.imag()));
        }
    }
    ResonatorInputs inputs(bool given) const {
        ResonatorInputs in{s, codebook.view()};
        if (complex) in.s_im = s_im, in.codebook_im = codebook_im.view();
        if (given) in.state = matrix(state);
        if (given && complex) in.state_im = matrix(state_im);
        return in;
    }
};

attenta::Matrices<float> matrix_of(const attenta::Heads<float>& x) {
    return {x.data, 1, x.tokens, x.dim, x.token_stride, 0};
}

void expect_definition(const Drawn& d, bool given, const ResonatorOptions& options) {
    const ResonatorInputs in = d.inputs(given);
    const Naive want = naive_resonator(in, options);
    const std::int64_t F = in.codebook.heads, M = in.codebook.tokens, D = in.codebook.dim;
    Mat re(F, D), im(F, D);
    double size = 0;
    for (std::int64_t f = 0; f < F; ++f)
        for (std::int64_t i = 0; i < D; ++i) {
            const Complex e = want.state[static_cast<std::size_t>(f)][static_cast<std::size_t>(i)];
            re(f, i) = e.real(), im(f, i) = e.imag();
            size = std::max(size, std::abs(e));
        }
    expect_heads({re},
                 [&](attenta::Heads<float> state, Context& context) {
                     const Tensor<float> state_im(1, F, D, Order::head_token, 2);
                     std::vector<float> weights(static_cast<std::size_t>(F * M));
                     std::vector<std::int64_t> index(static_cast<std::size_t>(F));
                     resonator(in, {matrix_of(state), matrix_of(state_im.view()), weights.data(), index.data()},
                               options, context);
                     for (std::int64_t f = 0; f < F; ++f) {
                         const float* const w = weights.data() + f * M;
                         EXPECT_EQ(index[static_cast<std::size_t>(f)], std::max_element(w, w + M) - w);
                     }
                     EXPECT_TRUE(is_close(weights.data(), M, want.weights, {2e-5 * size, 1e-3}));
                     if (d.complex) {
                         EXPECT_TRUE(is_close(state_im.row(0, 0), D + 2, im, {5e-5 * size, 1e-3}));
                     }
                 },
                 {5e-5 * size, 1e-3});
}

TEST(Resonator, EqualsItsDefinition) {
    for (const bool phases : {false, true})
        for (const auto update : {ResonatorUpdate::attention, ResonatorUpdate::linear})
            for (const auto projection : {ResonatorProjection::none, ResonatorProjection::sign,
                                          ResonatorProjection::phase, ResonatorProjection::l2})
                for (const auto order : {ResonatorOrder::parallel, ResonatorOrder::sequential}) {
                    SCOPED_TRACE(testing::Message() << "phases " << phases << " update " << int(update)
                                                    << " projection " << int(projection) << " order " << int(order));
                    const Drawn d(3, 7, 101, phases);
                    const bool grows = update == ResonatorUpdate::linear && projection == ResonatorProjection::none;
                    expect_definition(d, order == ResonatorOrder::parallel,
                                      {update, projection, order, grows ? 1 : 2, 0.2f});
                }
    for (const bool given : {false, true}) {
        expect_definition({1, 1, 1, false}, given, {});
        expect_definition({2, 30, 4, true}, given, {});
        expect_definition({4, 3, 130, false}, given, {.projection = ResonatorProjection::l2});
    }
}

TEST(Resonator, FindsTheFactors) {
    const Drawn d(3, 8, 400, false);
    const Tensor<float> state(1, 3, 400);
    std::vector<std::int64_t> index(3);
    resonator(d.inputs(false), {matrix_of(state.view()), {}, nullptr, index.data()},
              {.update = ResonatorUpdate::linear, .projection = ResonatorProjection::sign, .steps = 30});
    EXPECT_EQ(index, d.factors);
}

/// The phase, the sign and the unit vector of 0 are 0.
TEST(Resonator, ProjectsZeros) {
    const std::vector<float> s(9, 0.f);
    Drawn d(2, 3, 9, true);
    for (const auto projection : {ResonatorProjection::sign, ResonatorProjection::phase, ResonatorProjection::l2}) {
        ResonatorInputs in = d.inputs(false);
        in.s = in.s_im = s;
        const Tensor<float> state(1, 2, 9), state_im(1, 2, 9);
        resonator(in, {matrix_of(state.view()), matrix_of(state_im.view())},
                  {.update = ResonatorUpdate::linear, .projection = projection});
        for (std::int64_t i = 0; i < 18; ++i)
            EXPECT_TRUE(state.row(0, 0)[i] == 0 && state_im.row(0, 0)[i] == 0) << int(projection);
    }
}

TEST(ResonatorErrors, SaysWhatDoesNotFit) {
    const Drawn d(2, 3, 8, true);
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        ResonatorInputs x = d.inputs(true);
        ResonatorOptions options;
        change(x, options);
        const Tensor<float> im(1, 2, 8);
        return refuses_to_write(
            {nullptr, 1, 2, 8, 0, 0},
            [&](attenta::Heads<float> o) {
                resonator(x, {matrix_of(o), matrix_of(im.view())}, options);
            },
            words);
    };
    using X = ResonatorInputs;
    using O = ResonatorOptions;
    EXPECT_TRUE(refused([](X& x, O&) { x.s = x.s.first(7); }, {"resonator", "codebook", "8", "7"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.codebook_im = {}; }, {"resonator", "codebook_im", "s_im"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.s_im = {}; }, {"resonator", "s_im", "codebook_im"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.state_im = {}; }, {"resonator", "state_im"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.state = {}; }, {"resonator", "state_im", "state"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.state.rows = 1; }, {"resonator", "state", "1", "2"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.codebook.tokens = 0; }, {"resonator", "codebook", "0"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.steps = 0; }, {"resonator", "steps", "0", "1"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.beta = std::nanf(""); }, {"resonator", "beta", "nan"}));
    EXPECT_TRUE(refuses(
        [&] {
            resonator(d.inputs(true), {{d.state.view().data, 1, 2, 8, 10, 0}, {}});
        },
        {"resonator", "state", "overlaps"}));
    EXPECT_TRUE(refuses(
        [&] {
            const Tensor<float> o(1, 2, 8);
            resonator(d.inputs(true), {matrix_of(o.view()), {}});
        },
        {"resonator", "state_im"}));
    d.state.row(1, 0)[3] = std::nanf("");
    EXPECT_TRUE(refused([](X&, O& o) { o.check_data = true; }, {"resonator", "state", "nan"}));
}

}  // namespace
}  // namespace attenta_test
