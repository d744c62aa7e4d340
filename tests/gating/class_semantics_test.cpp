// Class semantics equal their definition in all modes; their own errors.
#include <attenta/gating/class_semantics.hpp>

#include "support/maps.hpp"

namespace attenta_test {
namespace {

using attenta::ClassSemanticsInputs, attenta::ClassSemanticsOptions, attenta::SemanticsFuse, attenta::SemanticsMode,
    attenta::class_semantics;

struct Naive {
    std::vector<double> channels, time;
    Map o;
};

/// g = σ(w_2 relu(w_1 mean(s) + b_1) + b_2), h_t = σ(w_4 relu(w_3 s_t + b_3) + b_4)
Naive naive_semantics(const ClassSemanticsInputs& in, const ClassSemanticsOptions& options) {
    const std::int64_t steps = in.x.dim, classes = in.semantics.rows;
    const auto gate = [](const auto& w, auto b, const auto& v, auto c, std::vector<double> s) {
        s = layer(w, b, s);
        std::transform(s.begin(), s.end(), s.begin(), relu);
        s = layer(v, c, s);
        std::transform(s.begin(), s.end(), s.begin(), sigmoid);
        return s;
    };
    Naive naive;
    std::vector<double> mean(static_cast<std::size_t>(classes));
    for (std::int64_t t = 0; t < steps; ++t) {
        std::vector<double> s;
        for (std::int64_t k = 0; k < classes; ++k) s.push_back(double{in.semantics.row(0, k)[t]});
        for (std::size_t k = 0; k < s.size(); ++k) mean[k] += s[k] / static_cast<double>(steps);
        if (options.mode != SemanticsMode::channel) naive.time.push_back(gate(in.w_3, in.b_3, in.w_4, in.b_4, s)[0]);
    }
    if (options.mode != SemanticsMode::time) naive.channels = gate(in.w_1, in.b_1, in.w_2, in.b_2, mean);
    const Map x = map_of(in.x);
    naive.o = make_map(in.x.heads, 1, steps, [&](std::int64_t c, std::int64_t, std::int64_t t) {
        const double g = naive.channels.empty() ? 0 : naive.channels[static_cast<std::size_t>(c)],
                     h = naive.time.empty() ? 0 : naive.time[static_cast<std::size_t>(t)];
        const bool product = options.mode == SemanticsMode::both && options.fuse == SemanticsFuse::product;
        return at(x, c, 0, t) * ((product ? g * h : g + h) + (options.residual ? 1 : 0));
    });
    return naive;
}

struct Drawn {
    Tensor<float> x, semantics, w_1, w_2, w_3, w_4;
    std::vector<float> b_1, b_2, b_3, b_4;

    Drawn(std::int64_t C, std::int64_t steps, std::int64_t K, std::int64_t M, std::int64_t N, std::int64_t pad = 0) {
        Random random(13);
        x = random_tensor(random, C, 1, steps, Order::head_token, pad);
        semantics = random_tensor(random, K, 1, steps, Order::head_token, pad);
        w_1 = random_tensor(random, M, 1, K, Order::head_token, 1), b_1 = random.normals(M);
        w_2 = random_tensor(random, C, 1, M, Order::head_token, 2), b_2 = random.normals(C);
        w_3 = random_tensor(random, N, 1, K, Order::head_token, 3), b_3 = random.normals(N);
        w_4 = random_tensor(random, 1, 1, N), b_4 = random.normals(1);
    }
    ClassSemanticsInputs inputs(SemanticsMode mode) const {
        ClassSemanticsInputs in{x.view(), matrix(semantics)};
        if (mode != SemanticsMode::time) in.w_1 = matrix(w_1), in.b_1 = b_1, in.w_2 = matrix(w_2), in.b_2 = b_2;
        if (mode != SemanticsMode::channel) in.w_3 = matrix(w_3), in.b_3 = b_3, in.w_4 = matrix(w_4), in.b_4 = b_4;
        return in;
    }
};

TEST(ClassSemantics, EqualTheirDefinition) {
    for (const Drawn& d :
         {Drawn(1, 1, 1, 1, 1), Drawn(22, 37, 13, 8, 9, 3), Drawn(7, 300, 20, 5, 150, 1), Drawn(130, 17, 40, 33, 2)})
        for (const auto mode : {SemanticsMode::both, SemanticsMode::channel, SemanticsMode::time})
            for (const auto fuse : {SemanticsFuse::sum, SemanticsFuse::product})
                for (const bool residual : {false, true}) {
                    const ClassSemanticsOptions options{.mode = mode, .fuse = fuse, .residual = residual};
                    const Naive want = naive_semantics(d.inputs(mode), options);
                    expect_map(want.o, [&](attenta::Heads<float> o, Context& context) {
                        std::vector<float> channels(want.channels.size() + 1), time(want.time.size() + 1);
                        class_semantics(d.inputs(mode), {o, channels.data(), time.data()}, options, context);
                        EXPECT_TRUE(is_close(channels.data(), want.channels));
                        EXPECT_TRUE(is_close(time.data(), want.time));
                        class_semantics(d.inputs(mode), {o}, options, context);
                    });
                }
}

TEST(ClassSemanticsErrors, SayWhatDoesNotFit) {
    const Drawn d(4, 9, 3, 5, 6);
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        ClassSemanticsInputs x = d.inputs(SemanticsMode::both);
        ClassSemanticsOptions options;
        change(x, options);
        return refuses_to_write(
            {nullptr, 4, 1, 9, 0, 0}, [&](attenta::Heads<float> o) { class_semantics(x, {o}, options); }, words);
    };
    using X = ClassSemanticsInputs;
    using O = ClassSemanticsOptions;
    EXPECT_TRUE(refused([](X& x, O&) { x.semantics.cols = 8; }, {"class_semantics", "semantics", "8", "9"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_2.rows = 3; }, {"class_semantics", "w_2", "3", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.b_3 = {}; }, {"class_semantics", "b_3", "mode"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.mode = SemanticsMode::time; }, {"class_semantics", "w_1", "null"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_4.rows = 2; }, {"class_semantics", "w_4", "2", "1"}));
    EXPECT_TRUE(refused(
        [](X& x, O&) {
            x.w_3.rows = std::int64_t{1} << 46;
            x.w_3.row_stride = 0;
            x.b_3 = {x.b_3.data(), std::size_t{1} << 46};
            x.w_4.cols = std::int64_t{1} << 46;
        },
        {"class_semantics", "hidden", "memory"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.x.heads = 0; }, {"class_semantics", "x", "0"}));
    EXPECT_TRUE(
        refuses([&] { class_semantics(d.inputs(SemanticsMode::both), {d.x.view()}); }, {"class_semantics", "o", "x"}));
    d.semantics.row(1, 0)[3] = std::nanf("");
    EXPECT_TRUE(refused([](X&, O& o) { o.check_data = true; }, {"class_semantics", "semantics", "nan"}));
}

}  // namespace
}  // namespace attenta_test
