// The block-recurrent cell equals its definition for all structures and gates; cut between blocks; its own errors.
#include <attenta/variants/structured/block_recurrent.hpp>

#include <map>

#include "support/maps.hpp"

namespace attenta_test {
namespace {

using attenta::BlockRecurrentInputs, attenta::BlockRecurrentOptions, attenta::RecurrentGate,
    attenta::RecurrentGateInputs, attenta::RecurrentStructure, attenta::block_recurrent;

Mat mat(const attenta::Matrices<const float>& x) { return Mat(View{x.data, 1, x.rows, x.cols, 0, x.row_stride}, 0); }

Mat block_of(const Mat& x, std::int64_t row, std::int64_t rows, std::int64_t col, std::int64_t cols) {
    Mat y(rows, cols);
    for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < cols; ++c) y(r, c) = x(row + r, col + c);
    return y;
}

/// Rows x / √(divisor + 1e-6), the divisor a sum or a mean of squares.
Mat normed(Mat x, bool mean) {
    for (std::int64_t r = 0; r < x.rows(); ++r) {
        double squares = 0;
        for (std::int64_t c = 0; c < x.cols(); ++c) squares += x(r, c) * x(r, c);
        if (mean) squares /= static_cast<double>(x.cols());
        for (std::int64_t c = 0; c < x.cols(); ++c) x(r, c) /= std::sqrt(squares + 1e-6);
    }
    return x;
}

Mat plus_row(Mat x, std::span<const float> row) {
    for (std::int64_t r = 0; r < x.rows(); ++r)
        for (std::int64_t c = 0; c < x.cols(); ++c) x(r, c) += double{row[static_cast<std::size_t>(c)]};
    return x;
}

struct Naive {
    std::vector<Mat> o;
    Mat state;
};

/// A cell, straight from the header's equations.
struct NaiveCell {
    const BlockRecurrentInputs& in;
    const BlockRecurrentOptions& options;

    Mat attend(const Mat& q, const Mat& k, const Mat& v, std::span<const float> scale, std::int64_t h,
               auto&& seen) const {
        const Mat a = options.normalize_qk ? normed(q, false) : q, b = options.normalize_qk ? normed(k, false) : k;
        const double factor = options.normalize_qk ? std::abs(double{scale[static_cast<std::size_t>(h)]})
                                                   : 1 / std::sqrt(static_cast<double>(q.cols()));
        const Mat s = factor * (a * b.transposed());
        Mat o(q.rows(), v.cols());
        for (std::int64_t i = 0; i < s.rows(); ++i) {
            double sum = 0;
            for (std::int64_t j = 0; j < s.cols(); ++j) {
                if (!seen(i, j)) continue;
                const double w = std::exp(s(i, j));
                sum += w;
                for (std::int64_t c = 0; c < v.cols(); ++c) o(i, c) += w * v(j, c);
            }
            for (std::int64_t c = 0; c < v.cols() && sum > 0; ++c) o(i, c) /= sum;
        }
        return o;
    }

    Mat gate(const RecurrentGateInputs& w, const Mat& y, Mat z, Mat c) const {
        const bool lstm = options.gate == RecurrentGate::lstm, fixed = options.gate == RecurrentGate::fixed;
        if (options.tanh_z.value_or(lstm)) z = z.map([](double e) { return std::tanh(e); });
        Mat forget(c.rows(), c.cols()), input = forget;
        if (!fixed) forget = y * mat(lstm ? w.w_f : w.w_g) + forget.map([](double) { return 1.0; });
        forget = plus_row(forget, lstm ? w.b_f : w.b_g).map(sigmoid);
        if (lstm) input = plus_row(y * mat(w.w_i) - input.map([](double) { return 1.0; }), w.b_i).map(sigmoid);
        for (std::int64_t r = 0; r < c.rows(); ++r)
            for (std::int64_t e = 0; e < c.cols(); ++e)
                c(r, e) = c(r, e) * forget(r, e) + z(r, e) * (lstm ? input(r, e) : 1 - forget(r, e));
        return c;
    }

    Mat rms(const Mat& c, std::span<const float> gain) const {
        Mat x = normed(c, true);
        for (std::int64_t r = 0; r < x.rows(); ++r)
            for (std::int64_t e = 0; e < x.cols(); ++e) x(r, e) *= double{gain[static_cast<std::size_t>(e)]};
        return x;
    }

    Mat update(Mat c, const Mat& read) const {
        const auto hidden = [&](const Mat& x) { return plus_row(x * mat(in.update.w_1), in.update.b_1).map(relu); };
        const auto second = [&](const Mat& y) { return plus_row(y * mat(in.update.w_2), in.update.b_2); };
        if (options.structure == RecurrentStructure::single)
            return gate(in.gate, hidden(read), second(hidden(read)), c);
        c = gate(in.gate, read, read * mat(in.update.w_o), c);
        if (options.structure == RecurrentStructure::skip) return c;
        const Mat y = hidden(rms(c, in.update.norm_ffn));
        return gate(in.gate2, y, second(y), c);
    }

    Naive run() const {
        const attenta::RecurrentTokens& t = in.tokens;
        const std::int64_t H = t.q.heads, T = t.q.tokens, D = t.q.dim, W = options.window, P = t.k_prev.data ? W : 0,
                           near = options.include_self ? 0 : 1;
        Naive naive{std::vector<Mat>(static_cast<std::size_t>(2 * H), Mat(T, D)), mat(in.states.state)};
        const auto joined = [&](const View& before, const View& x, std::int64_t h) {
            Mat all(P + T, D);
            for (std::int64_t r = 0; r < P + T; ++r)
                for (std::int64_t c = 0; c < D; ++c)
                    all(r, c) = double{(r < P ? before.row(h, r) : x.row(h, r - P))[c]};
            return all;
        };
        const auto everything = [](std::int64_t, std::int64_t) { return true; };
        for (std::int64_t begin = 0; begin < T; begin += W) {
            const std::int64_t n = std::min(W, T - begin), first = std::max<std::int64_t>(0, P + begin - W),
                               last = P + begin + n, seen = options.state_sees_previous ? first : P + begin;
            const Mat x = rms(naive.state, in.states.norm) + mat(in.states.pos);
            const Mat sk = x * mat(in.states.w_sk), sv = x * mat(in.states.w_sv), sq = x * mat(in.states.w_sq),
                      sqc = x * mat(in.states.w_sqc);
            Mat read(x.rows(), 2 * H * D);
            for (std::int64_t h = 0; h < H; ++h) {
                const Mat k = joined(t.k_prev, t.k, h), v = joined(t.v_prev, t.v, h);
                const auto of_head = [&](const Mat& s) { return block_of(s, 0, s.rows(), h * D, D); };
                const auto put = [&](const Mat& from, Mat& to, std::int64_t row, std::int64_t col) {
                    for (std::int64_t r = 0; r < from.rows(); ++r)
                        for (std::int64_t c = 0; c < D; ++c) to(row + r, col + c) = from(r, c);
                };
                const auto near_by = [&](std::int64_t i, std::int64_t j) {
                    const std::int64_t back = P + begin + i - (first + j);
                    return back >= near && back < near + W;
                };
                put(attend(block_of(Mat(t.q, h), begin, n, 0, D), block_of(k, first, last - first, 0, D),
                           block_of(v, first, last - first, 0, D), t.scale_self, h, near_by),
                    naive.o[static_cast<std::size_t>(h)], begin, 0);
                put(attend(block_of(Mat(t.q_cross, h), begin, n, 0, D), of_head(sk), of_head(sv), t.scale_cross, h,
                           everything),
                    naive.o[static_cast<std::size_t>(H + h)], begin, 0);
                put(attend(of_head(sq), of_head(sk), of_head(sv), t.state_scale_self, h, everything), read, 0, h * D);
                put(attend(of_head(sqc), block_of(k, seen, last - seen, 0, D), block_of(v, seen, last - seen, 0, D),
                           t.state_scale_cross, h, everything),
                    read, 0, (H + h) * D);
            }
            naive.state = update(naive.state, read);
        }
        return naive;
    }
};

struct Case {
    std::int64_t H, T, D, S, E, N, W;
    bool previous;
};

struct Drawn {
    std::map<std::string, Tensor<float>> tensors;
    std::map<std::string, std::vector<float>> vectors;
    Case c;
    BlockRecurrentOptions options;

    Drawn(const Case& drawn, const BlockRecurrentOptions& o) : c(drawn), options(o) {
        options.window = c.W;
        Random random(41);
        const auto heads = [&](const char* name, std::int64_t tokens) {
            tensors[name] = random_tensor(random, c.H, tokens, c.D, Order::token_head, 2);
        };
        for (const char* name : {"q", "q_cross", "k", "v"}) heads(name, c.T);
        for (const char* name : {"k_prev", "v_prev"}) heads(name, c.W);
        const auto weight = [&](const std::string& name, std::int64_t rows, std::int64_t cols) {
            tensors[name] =
                random_tensor(random, rows, 1, cols, Order::head_token, 1, 1 / std::sqrt(static_cast<float>(rows)));
        };
        weight("state", c.S, c.E), weight("pos", c.S, c.E);
        const std::int64_t wide = c.H * c.D;
        for (const char* name : {"w_sk", "w_sv", "w_sq", "w_sqc"}) weight(name, c.E, wide);
        const bool single = options.structure == RecurrentStructure::single;
        weight("w_o", 2 * wide, c.E), weight("w_1", single ? 2 * wide : c.E, c.N), weight("w_2", c.N, c.E);
        for (const char* name : {"w_g", "w_f", "w_i"}) {
            weight(name, single ? c.N : 2 * wide, c.E);
            weight(std::string(name) + "2", c.N, c.E);
        }
        for (const char* name : {"norm", "norm_ffn", "b_2", "b_g", "b_f", "b_i", "b_g2", "b_f2", "b_i2"})
            vectors[name] = random.normals(c.E);
        vectors["b_1"] = random.normals(c.N);
        for (const char* name : {"scale_self", "scale_cross", "state_scale_self", "state_scale_cross"})
            vectors[name] = random.normals(c.H);
    }

    View heads(const char* name) const { return tensors.at(name).view(); }
    attenta::Matrices<const float> weight(const std::string& name) const { return matrix(tensors.at(name)); }
    void fill(RecurrentGateInputs& g, const std::string& suffix) const {
        const auto vector = [&](const char* name) { return std::span<const float>(vectors.at(name + suffix)); };
        if (options.gate == RecurrentGate::lstm) {
            g.b_f = vector("b_f"), g.b_i = vector("b_i");
            g.w_f = weight("w_f" + suffix), g.w_i = weight("w_i" + suffix);
            return;
        }
        g.b_g = vector("b_g");
        if (options.gate == RecurrentGate::full) g.w_g = weight("w_g" + suffix);
    }
    BlockRecurrentInputs inputs() const {
        BlockRecurrentInputs in{{heads("q"), heads("q_cross"), heads("k"), heads("v")},
                                {weight("state"), vectors.at("norm"), weight("pos"), weight("w_sk"), weight("w_sv"),
                                 weight("w_sq"), weight("w_sqc")}};
        if (c.previous) in.tokens.k_prev = heads("k_prev"), in.tokens.v_prev = heads("v_prev");
        if (options.normalize_qk) {
            in.tokens.scale_self = vectors.at("scale_self"), in.tokens.scale_cross = vectors.at("scale_cross");
            in.tokens.state_scale_self = vectors.at("state_scale_self");
            in.tokens.state_scale_cross = vectors.at("state_scale_cross");
        }
        if (options.structure != RecurrentStructure::single) in.update.w_o = weight("w_o");
        if (options.structure == RecurrentStructure::dual)
            in.update.norm_ffn = vectors.at("norm_ffn"), fill(in.gate2, "2");
        if (options.structure != RecurrentStructure::skip) {
            in.update.w_1 = weight("w_1"), in.update.b_1 = vectors.at("b_1");
            in.update.w_2 = weight("w_2"), in.update.b_2 = vectors.at("b_2");
        }
        fill(in.gate, "");
        return in;
    }
};

attenta::Matrices<float> matrix_of(const Tensor<float>& x) {
    return {x.view().data, 1, x.view().tokens, x.view().dim, x.view().token_stride, 0};
}

void expect_definition(const Drawn& d) {
    SCOPED_TRACE(testing::Message() << "T " << d.c.T << " W " << d.c.W << " structure " << int(d.options.structure)
                                    << " gate " << int(d.options.gate) << " previous " << d.c.previous);
    const BlockRecurrentInputs in = d.inputs();
    const Naive want = NaiveCell{in, d.options}.run();
    expect_heads(want.o, [&](attenta::Heads<float> o, Context& context) {
        const Tensor<float> state(1, d.c.S, d.c.E, Order::head_token, 3);
        block_recurrent(in, {o, matrix_of(state)}, d.options, context);
        EXPECT_TRUE(is_close(state.row(0, 0), d.c.E + 3, want.state, {5e-5, 5e-4}));
    });
}

TEST(BlockRecurrent, EqualsItsDefinition) {
    const Case cases[] = {{1, 1, 1, 1, 1, 1, 1, false},
                          {2, 37, 12, 7, 18, 9, 8, false},
                          {3, 19, 8, 6, 20, 15, 5, true},
                          {2, 5, 33, 3, 10, 21, 40, true},
                          {1, 130, 16, 70, 33, 40, 64, true}};
    int turn = 0;
    for (const Case& c : cases)
        for (const auto structure : {RecurrentStructure::skip, RecurrentStructure::dual, RecurrentStructure::single})
            for (const auto gate : {RecurrentGate::fixed, RecurrentGate::full, RecurrentGate::lstm}) {
                BlockRecurrentOptions options{.structure = structure, .gate = gate};
                ++turn;
                options.include_self = turn % 2 == 0, options.normalize_qk = turn % 3 != 0;
                options.state_sees_previous = turn % 5 < 3;
                if (turn % 4 == 0) options.tanh_z = gate != RecurrentGate::lstm;
                expect_definition({c, options});
            }
}

/// Two calls, cut between blocks, are one.
TEST(BlockRecurrent, CutsBetweenBlocks) {
    for (const bool include_self : {false, true}) {
        const Drawn d(
            {2, 29, 8, 5, 12, 9, 6, false},
            {.structure = RecurrentStructure::dual, .gate = RecurrentGate::lstm, .include_self = include_self});
        BlockRecurrentInputs in = d.inputs();
        const Tensor<float> o(4, 29, 8), parts(4, 29, 8), state(1, 5, 12), between(1, 5, 12), end(1, 5, 12);
        block_recurrent(in, {o.view(), matrix_of(state)}, d.options);
        const attenta::RecurrentTokens all = in.tokens;
        const auto take = [&](std::int64_t begin, std::int64_t count) {
            in.tokens.q = all.q.slice(begin, count), in.tokens.q_cross = all.q_cross.slice(begin, count);
            in.tokens.k = all.k.slice(begin, count), in.tokens.v = all.v.slice(begin, count);
        };
        take(0, 12);
        block_recurrent(in, {parts.view().slice(0, 12), matrix_of(between)}, d.options);
        take(12, 17);
        in.tokens.k_prev = all.k.slice(6, 6), in.tokens.v_prev = all.v.slice(6, 6);
        in.states.state = {between.view().data, 1, 5, 12};
        block_recurrent(in, {parts.view().slice(12, 17), matrix_of(end)}, d.options);
        for (std::int64_t h = 0; h < 4; ++h)
            for (std::int64_t t = 0; t < 29; ++t)
                for (std::int64_t c = 0; c < 8; ++c) EXPECT_NEAR(o.row(h, t)[c], parts.row(h, t)[c], 1e-5);
        for (std::int64_t i = 0; i < 60; ++i) EXPECT_NEAR(state.row(0, 0)[i], end.row(0, 0)[i], 1e-5);
    }
}

TEST(BlockRecurrentErrors, SaysWhatDoesNotFit) {
    const Drawn d({2, 9, 4, 3, 6, 5, 4, true}, {.structure = RecurrentStructure::dual, .gate = RecurrentGate::full});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        BlockRecurrentInputs x = d.inputs();
        BlockRecurrentOptions options = d.options;
        change(x, options);
        const Tensor<float> state(1, 3, 6);
        return refuses_to_write(
            {nullptr, 4, 9, 4, 0, 0},
            [&](attenta::Heads<float> o) {
                block_recurrent(x, {o, matrix_of(state)}, options);
            },
            words);
    };
    using X = BlockRecurrentInputs;
    using O = BlockRecurrentOptions;
    const char* f = "block_recurrent";
    EXPECT_TRUE(refused([](X&, O& o) { o.window = 0; }, {f, "window", "0", "1"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.window = 5; }, {f, "k_prev", "4", "5"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.tokens.v_prev = {}; }, {f, "v_prev", "k_prev"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.tokens.scale_cross = {}; }, {f, "scale_cross", "normalize_qk"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.normalize_qk = false; }, {f, "scale_self", "normalize_qk"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.structure = RecurrentStructure::skip; }, {f, "norm_ffn", "structure"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.gate = RecurrentGate::lstm; }, {f, "b_g", "gate"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.gate2 = {}; }, {f, "b_g2", "gate"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.gate2.w_g.rows = 6; }, {f, "w_g2", "6", "5"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.gate.w_g.rows = 15; }, {f, "w_g", "15", "16"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.update.w_o.rows = 8; }, {f, "w_o", "8", "16"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.states.w_sq.cols = 7; }, {f, "w_sq", "7", "8"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.states.pos.rows = 2; }, {f, "pos", "2", "3"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.tokens.k.tokens = 8; }, {f, "k", "8", "9"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.tokens.q.tokens = 0; }, {f, "q", "0"}));
    const Tensor<float> o(4, 9, 4);
    EXPECT_TRUE(refuses(
        [&] {
            block_recurrent(d.inputs(), {o.view(), {d.tensors.at("pos").view().data, 1, 3, 6, 7, 0}}, d.options);
        },
        {f, "state", "pos"}));
    d.tensors.at("v").row(1, 3)[2] = std::nanf("");
    EXPECT_TRUE(refused([](X&, O& opt) { opt.check_data = true; }, {f, "v", "nan"}));
}

}  // namespace
}  // namespace attenta_test
