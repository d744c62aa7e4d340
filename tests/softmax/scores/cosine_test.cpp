#include <attenta/softmax/scores/cosine.hpp>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::CosineInputs, attenta::CosineMethod, attenta::CosineOptions;
using Row = std::vector<double>;

Row unit(Row x, double eps) {
    const double norm = std::max(std::sqrt(naive_dot(x, x)), eps);
    for (double& e : x) e /= norm;
    return x;
}

/// ⊙ weight + bias of a head, where they are given.
Row weighted(Row x, const attenta::Matrices<const float>& weight, const attenta::Matrices<const float>& bias,
             std::int64_t head) {
    for (std::size_t c = 0; c < x.size(); ++c) {
        if (weight) x[c] *= double{weight.row(0, weight.rows == 1 ? 0 : head)[c]};
        if (bias) x[c] += double{bias.row(0, bias.rows == 1 ? 0 : head)[c]};
    }
    return x;
}

Naive definition(const CosineInputs& x, const CosineOptions& o) {
    const View k = k_of(x.kv);
    const std::int64_t Hq = x.q.heads, group = Hq / k.heads, Tq = x.q.tokens, Tk = k.tokens, D = k.dim;
    const bool l2 = o.method == CosineMethod::ngpt || o.method == CosineMethod::l2;
    const double eps = o.eps ? double{*o.eps}
                       : l2  ? 1e-12
                             : 1e-6,
                 scale = o.method == CosineMethod::ngpt && !o.scale ? std::sqrt(static_cast<double>(D))
                                                                    : naive_scale(o.scale, D);
    const auto normalised = [&](Row row) {
        return l2 ? unit(std::move(row), eps) : naive_normalised(std::move(row), o.method == CosineMethod::layer, eps);
    };
    const auto query = [&](std::int64_t h, std::int64_t i) {
        const Row q = normalised(wide(x.q.row(h, i), D));
        return x.s_qk ? weighted(q, x.s_qk, {}, h / group) : weighted(q, x.q_norm, x.q_norm_bias, h);
    };
    const auto key = [&](std::int64_t h, std::int64_t j) {
        return weighted(normalised(wide(k.row(h, j), D)), x.s_qk ? x.s_qk : x.k_norm, x.k_norm_bias, h);
    };
    return NaiveAttention{.score = [&](std::int64_t h, std::int64_t i,
                                       std::int64_t j) { return scale * naive_dot(query(h, i), key(h / group, j)); },
                          .sees = [&](std::int64_t h, std::int64_t i,
                                      std::int64_t j) { return naive_sees(o.visibility, h, i, Tq, j, Tk); }}(
        Hq, Tq, v_of(x.kv));
}

template <CosineMethod method>
void use(AttentionCase& c) {
    auto& o = options_of<CosineOptions>(c);
    o.method = method;
    if (method == CosineMethod::l2) o.scale = 6.f;
}

void fill(AttentionCase& c) {
    const std::int64_t D = c.shape.D, Hq = c.shape.Hq, Hkv = c.shape.Hkv;
    switch (options_of<CosineOptions>(c).method) {
        case CosineMethod::ngpt:
            return c.put("s_qk", 1, Hkv, D);
        case CosineMethod::l2:
            return;
        case CosineMethod::rms:
            c.put("q_norm", 1, 1, D);
            return c.put("k_norm", 1, Hkv, D);
        case CosineMethod::layer:
            c.put("q_norm", 1, Hq, D);
            c.put("k_norm", 1, 1, D);
            if (c.shape.Tq % 2 == 0) return;
            c.put("q_norm_bias", 1, 1, D);
            c.put("k_norm_bias", 1, Hkv, D);
    }
}

const auto& mechanism = test_attention<&attenta::cosine, &definition>(
    {.name = "cosine",
     .variants = {{"l2", use<CosineMethod::l2>},
                  {"rms", use<CosineMethod::rms>},
                  {"layer", use<CosineMethod::layer>},
                  {"layer, eps and scale",
                   [](AttentionCase& c) {
                       use<CosineMethod::layer>(c);
                       options_of<CosineOptions>(c).eps = 0.5f, options_of<CosineOptions>(c).scale = 2.f;
                   }},
                  {"ngpt, eps", [](AttentionCase& c) { options_of<CosineOptions>(c).eps = 5.f; }}},
     .fill = fill});

std::size_t variant_of(CosineMethod method) { return static_cast<std::size_t>(method); }

/// Kept gains are those that the call would compute; new tokens are added to them.
TEST(Cosine, KeptGainsAreTheSame) {
    for (const CosineMethod method : {CosineMethod::ngpt, CosineMethod::l2, CosineMethod::rms, CosineMethod::layer}) {
        AttentionCase c = attention_case(mechanism, {4, 2, 3, 130, 18, 8}, variant_of(method));
        const KvView kv = KvView::of(c.view("k"), c.view("v"));
        std::vector<float> gain(2 * 140, -1);
        attenta::cosine_key_gain(kv, 0, 100, gain.data(), 140, method);
        attenta::cosine_key_gain(kv, 100, 30, gain.data(), 140, method);
        auto x = inputs_of<CosineInputs>(c);
        x.k_gain = {gain.data(), 1, 2, 130, 140};
        Output got = output_of(c), want = output_of(c);
        Context context;
        call(c, want, context);
        attenta::cosine(x, {got.o.view(), got.lse.data()}, options_of<CosineOptions>(c));
        EXPECT_TRUE(same_bits(want, got));
    }
}

/// Zero vectors stay zero, and norms that leave the range of squares are exact.
TEST(Cosine, NormsOfAllSizes) {
    for (const CosineMethod method : {CosineMethod::ngpt, CosineMethod::l2}) {
        AttentionCase c = attention_case(mechanism, {2, 1, 20, 30, 18, 8}, variant_of(method));
        const auto times = [&](const char* name, std::int64_t token, float factor) {
            for (std::int64_t d = 0; d < 18; ++d) c.view(name).row(0, token)[d] *= factor;
        };
        times("q", 3, 0), times("k", 5, 0), times("q", 4, 1e25f), times("k", 6, 1e-18f), times("k", 7, 1e24f);
        options_of<CosineOptions>(c).eps = 1e-30f;
        Output got = output_of(c);
        Context context;
        call(c, got, context);
        EXPECT_TRUE(close(got, mechanism.naive(c)));
    }
}

TEST(Cosine, Refuses) {
    const auto refused = [](CosineMethod method, std::initializer_list<std::string_view> words, auto&& spoil) {
        AttentionCase c = attention_case(mechanism, {4, 2, 9, 40, 16, 24}, variant_of(method));
        spoil(c, options_of<CosineOptions>(c));
        Output out = output_of(c);
        Context context;
        return refuses([&] { call(c, out, context); }, words);
    };
    using O = CosineOptions;
    EXPECT_TRUE(refused(CosineMethod::l2, {"cosine", "scale"}, [](AttentionCase&, O& o) { o.scale.reset(); }));
    EXPECT_TRUE(refused(CosineMethod::l2, {"cosine", "eps", "-1"}, [](AttentionCase&, O& o) { o.eps = -1; }));
    EXPECT_TRUE(refused(CosineMethod::ngpt, {"cosine", "s_qk"}, [](AttentionCase& c, O&) { c.floats.erase("s_qk"); }));
    EXPECT_TRUE(refused(CosineMethod::l2, {"cosine", "s_qk"}, [](AttentionCase& c, O&) { c.put("s_qk", 1, 2, 16); }));
    EXPECT_TRUE(
        refused(CosineMethod::rms, {"cosine", "q_norm"}, [](AttentionCase& c, O&) { c.floats.erase("q_norm"); }));
    EXPECT_TRUE(
        refused(CosineMethod::rms, {"cosine", "k_norm", "4"}, [](AttentionCase& c, O&) { c.put("k_norm", 1, 4, 16); }));
    EXPECT_TRUE(refused(CosineMethod::rms, {"cosine", "q_norm_bias"},
                        [](AttentionCase& c, O&) { c.put("q_norm_bias", 1, 1, 16); }));
    EXPECT_TRUE(refused(CosineMethod::layer, {"cosine", "1"}, [](AttentionCase& c, O&) {
        for (const char* name : {"q", "k", "q_norm", "k_norm", "q_norm_bias", "k_norm_bias"}) c.view(name).dim = 1;
    }));
    EXPECT_TRUE(
        refused(CosineMethod::l2, {"cosine", "k_gain", "39"}, [](AttentionCase& c, O&) { c.put("k_gain", 1, 2, 39); }));
    EXPECT_TRUE(
        refused(CosineMethod::l2, {"cosine", "method"}, [](AttentionCase&, O& o) { o.method = CosineMethod{9}; }));
}

}  // namespace
}  // namespace attenta_test
