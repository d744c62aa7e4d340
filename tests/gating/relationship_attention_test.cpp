// Relationship attention equals its definition; its own errors.
#include <attenta/gating/relationship_attention.hpp>

#include "support/maps.hpp"

namespace attenta_test {
namespace {

using attenta::RelationshipAttentionInputs, attenta::RelationshipAttentionOptions, attenta::relationship_attention;

Mat mat(const attenta::Matrices<const float>& x) { return Mat(View{x.data, 1, x.rows, x.cols, 0, x.row_stride}, 0); }

Mat columns(const Mat& x, std::int64_t first, std::int64_t n) {
    Mat y(x.rows(), n);
    for (std::int64_t r = 0; r < x.rows(); ++r)
        for (std::int64_t c = 0; c < n; ++c) y(r, c) = x(r, first + c);
    return y;
}

/// x + concat softmax(scale q kᵀ + position) v · w_o
Mat naive_relationship(const RelationshipAttentionInputs& in, const RelationshipAttentionOptions& options) {
    const Mat x = mat(in.x), q = x * mat(in.w_q), k = x * mat(in.w_k), v = x * mat(in.w_v);
    const std::int64_t dim = q.cols() / options.heads, dim_v = v.cols() / options.heads;
    Mat joined(x.rows(), v.cols());
    for (std::int64_t h = 0; h < options.heads; ++h) {
        Mat s = double{options.scale.value_or(default_scale(dim))} * columns(q, h * dim, dim) *
                columns(k, h * dim, dim).transposed();
        if (in.position.data) s = s + Mat(in.position, h);
        const Mat y = softmax_rows(s) * columns(v, h * dim_v, dim_v);
        for (std::int64_t r = 0; r < y.rows(); ++r)
            for (std::int64_t c = 0; c < dim_v; ++c) joined(r, h * dim_v + c) = y(r, c);
    }
    return x + joined * mat(in.w_o);
}

struct Drawn {
    Tensor<float> x, w_q, w_k, w_v, w_o, position;

    Drawn(std::int64_t batch, std::int64_t dim, std::int64_t heads, std::int64_t wide, std::int64_t wide_v) {
        Random random(19);
        const float share = 1 / std::sqrt(static_cast<float>(dim));
        x = random_tensor(random, batch, 1, dim, Order::head_token, 3);
        w_q = random_tensor(random, dim, 1, heads * wide, Order::head_token, 1, share);
        w_k = random_tensor(random, dim, 1, heads * wide, Order::head_token, 0, share);
        w_v = random_tensor(random, dim, 1, heads * wide_v, Order::head_token, 2, share);
        w_o = random_tensor(random, heads * wide_v, 1, dim, Order::head_token, 1, share);
        position = random_tensor(random, heads, batch, batch, Order::token_head, 1);
    }
    RelationshipAttentionInputs inputs(bool positions = true) const {
        RelationshipAttentionInputs in{matrix(x), matrix(w_q), matrix(w_k), matrix(w_v), matrix(w_o)};
        if (positions) in.position = position.view();
        return in;
    }
};

void call(const RelationshipAttentionInputs& in, attenta::Heads<float> o, const RelationshipAttentionOptions& options,
          Context& context = attenta::default_context()) {
    relationship_attention(in, {o.data, 1, o.tokens, o.dim, o.token_stride, 0}, options, context);
}

TEST(RelationshipAttention, EqualsItsDefinition) {
    struct Case {
        std::int64_t batch, dim, heads, wide, wide_v;
    };
    for (const Case& c : {Case{1, 20, 2, 7, 7}, Case{1, 1, 1, 1, 1}, Case{16, 29, 4, 9, 9}, Case{70, 24, 1, 17, 5},
                          Case{11, 40, 3, 6, 10}})
        for (const bool positions : {false, true}) {
            const Drawn d(c.batch, c.dim, c.heads, c.wide, c.wide_v);
            const RelationshipAttentionOptions options{.heads = c.heads,
                                                       .scale = positions ? std::optional(0.7f) : std::nullopt};
            expect_heads(
                {naive_relationship(d.inputs(positions), options)},
                [&](attenta::Heads<float> o, Context& context) { call(d.inputs(positions), o, options, context); });
        }
}

TEST(RelationshipAttentionErrors, SaysWhatDoesNotFit) {
    const Drawn d(5, 8, 2, 3, 4);
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        RelationshipAttentionInputs x = d.inputs();
        RelationshipAttentionOptions options{.heads = 2};
        change(x, options);
        return refuses_to_write(
            {nullptr, 1, 5, 8, 0, 0}, [&](attenta::Heads<float> o) { call(x, o, options); }, words);
    };
    using X = RelationshipAttentionInputs;
    using O = RelationshipAttentionOptions;
    EXPECT_TRUE(refused([](X&, O& o) { o.heads = 0; }, {"relationship_attention", "heads", "0", "1"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.heads = 4; }, {"relationship_attention", "w_q", "6", "4"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.heads = 1; }, {"relationship_attention", "position", "2", "1"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_k.cols = 4; }, {"relationship_attention", "w_k", "4", "6"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_o.rows = 6; }, {"relationship_attention", "w_o", "6", "8"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.position.dim = 4; }, {"relationship_attention", "position", "4", "5"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.scale = std::nanf(""); }, {"relationship_attention", "scale", "nan"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.x.rows = 0; }, {"relationship_attention", "x", "0"}));
    EXPECT_TRUE(refuses(
        [&] {
            const auto& x = d.x.view();
            relationship_attention(d.inputs(), {x.data, 1, x.heads, x.dim, x.head_stride, 0}, {.heads = 2});
        },
        {"relationship_attention", "o", "x"}));
    d.w_v.row(1, 0)[3] = std::nanf("");
    EXPECT_TRUE(refused([](X&, O& o) { o.check_data = true; }, {"relationship_attention", "w_v", "nan"}));
}

}  // namespace
}  // namespace attenta_test
