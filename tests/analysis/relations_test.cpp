// Relations and divergences equal their definition, sharp ones too; none from itself; NaN stays in its rows; own errors.
#include <attenta/analysis/relations.hpp>

#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::RelationsInputs, analysis::RelationsOptions, analysis::RelationSide;
constexpr auto call = &analysis::relations;
constexpr auto q = RelationSide::q, k = RelationSide::k, v = RelationSide::v;

/// Number c of token t, whose heads lie side by side.
double number(const View& x, std::int64_t t, std::int64_t c) { return double{x.row(c / x.dim, t)[c % x.dim]}; }

/// Logarithms of the relation of token i with all others in relation head a.
std::vector<double> log_relation(const View& m, const View& n, std::int64_t relation_heads, std::int64_t a,
                                 std::int64_t i) {
    const std::int64_t width = m.heads * m.dim / relation_heads;
    std::vector<double> s(static_cast<std::size_t>(n.tokens));
    for (std::int64_t j = 0; j < n.tokens; ++j)
        for (std::int64_t c = a * width; c < (a + 1) * width; ++c)
            s[static_cast<std::size_t>(j)] += number(m, i, c) * number(n, j, c) / std::sqrt(static_cast<double>(width));
    const double top = *std::max_element(s.begin(), s.end());
    double sum = 0;
    for (const double e : s) sum += std::exp(e - top);
    for (double& e : s) e -= top + std::log(sum);
    return s;
}

Values definition(const RelationsInputs& x, const RelationsOptions& o) {
    const auto place = [](RelationSide side) { return static_cast<std::size_t>(side); };
    const View teacher[] = {x.q, x.k, x.v}, student[] = {x.q_student, x.k_student, x.v_student};
    Values want;
    for (std::size_t p = 0; p < o.pairs.size(); ++p) {
        const auto [m, n] = o.pairs[p];
        double kl = 0;
        for (std::int64_t a = 0; a < o.relation_heads; ++a)
            for (std::int64_t i = 0; i < x.q.tokens; ++i) {
                const auto log_r = log_relation(teacher[place(m)], teacher[place(n)], o.relation_heads, a, i);
                for (const double l : log_r) want["relations"].push_back(std::exp(l));
                if (!x.has_student()) continue;
                const auto other = log_relation(student[place(m)], student[place(n)], o.relation_heads, a, i);
                for (std::size_t j = 0; j < log_r.size(); ++j)
                    kl +=
                        std::exp(log_r[j]) * (log_r[j] - other[j]) / static_cast<double>(o.relation_heads * x.q.tokens);
            }
        if (!x.has_student()) continue;
        want["kl"].push_back(kl);
        want["loss"].resize(1);
        want["loss"][0] += (o.pair_weights.empty() ? 1 : o.pair_weights[p]) * kl;
    }
    return want;
}

struct Shape {
    std::int64_t heads, dim, student_heads, student_dim, tokens, relation_heads;
    float gain = 1;
};

RelationsInputs drawn(Memory& memory, const Shape& s) {
    const auto one = [&](std::int64_t heads, std::int64_t dim) { return memory.heads(heads, s.tokens, dim, s.gain); };
    return {one(s.heads, s.dim),
            one(s.heads, s.dim),
            one(s.heads, s.dim),
            one(s.student_heads, s.student_dim),
            one(s.student_heads, s.student_dim),
            one(s.student_heads, s.student_dim)};
}
RelationsInputs without_student(RelationsInputs x) {
    x.q_student = x.k_student = x.v_student = {};
    return x;
}

TEST(Relations, EqualTheirDefinition) {
    Memory memory;
    for (const Shape& s : std::initializer_list<Shape>{{1, 1, 1, 1, 1, 1},
                                                       {4, 6, 3, 4, 17, 6},
                                                       {3, 5, 1, 15, 23, 1},
                                                       {2, 8, 4, 2, 13, 4, 3},
                                                       {2, 6, 1, 8, 70, 4, 8},
                                                       {1, 2, 2, 1, 730, 2}}) {
        const auto x = drawn(memory, s);
        const RelationsOptions defaults{s.relation_heads},
            mixed{s.relation_heads, {{q, k}, {v, v}, {k, q}, {v, q}}, {0.5, 0.25, 1, -2}};
        expect_values<call>(x, defaults, definition(x, defaults));
        if (s.tokens < 100) expect_values<call>(x, mixed, definition(x, mixed));
        const auto alone = without_student(x);
        expect_values<call>(alone, defaults, definition(alone, defaults), {}, {"loss"});
    }
}

TEST(Relations, DoNotDivergeFromThemselvesHoweverTheyAreCut) {
    Memory memory;
    RelationsInputs x = without_student(drawn(memory, {4, 6, 1, 1, 19, 1, 4}));
    x.q_student = x.q;
    x.k_student = x.k;
    x.v_student = x.v;
    const RelationsOptions o{3};
    const Outputs<call> out(x, o);
    analysis::relations(x, out.list, o);
    EXPECT_EQ(out.values().at("kl"), (std::vector<double>{0, 0, 0}));
}

TEST(Relations, KeepNaNInTheRowOfItsToken) {
    Memory memory;
    const auto x = without_student(drawn(memory, {2, 3, 1, 1, 9, 3}));
    const_cast<float&>(x.q.row(1, 4)[2]) = std::nanf("");
    const RelationsOptions o{3, {{q, k}}};
    const Outputs<call> out(x, o, {}, {"loss"});
    analysis::relations(x, out.list, o);
    const auto got = out.values().at("relations");
    for (std::size_t n = 0; n < got.size(); ++n) {
        const bool spoilt = n / 81 == 2 && n / 9 % 9 == 4;  // the last number of a token is in its last relation head
        EXPECT_EQ(std::isnan(got[n]), spoilt) << n;
    }
}

TEST(RelationsErrors, SayWhatDoesNotFit) {
    Memory memory;
    const auto x = drawn(memory, {4, 6, 3, 4, 7, 6});
    const RelationsOptions good{6};
    // Outputs that are smaller than each input: laid over one they meet no other.
    expect_bad_tensors_refused<call>(drawn(memory, {4, 6, 3, 4, 2, 6}), {6, {{q, q}}});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_inputs<call>(x, good, change, words);
    };
    const auto options = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(x, good, change, words);
    };
    EXPECT_TRUE(options([](auto& o) { o.relation_heads = 0; }, {"relations", "relation_heads", "0"}));
    EXPECT_TRUE(options([](auto& o) { o.relation_heads = 5; }, {"relation_heads", "5", "24", "q"}));
    EXPECT_TRUE(options([](auto& o) { o.relation_heads = 8; }, {"relation_heads", "8", "12", "q_student"}));
    EXPECT_TRUE(options([](auto& o) { o.pairs.clear(); }, {"pairs", "empty"}));
    EXPECT_TRUE(options([](auto& o) { o.pair_weights = {1, 2}; }, {"pair_weights", "2", "3"}));
    EXPECT_TRUE(options([](auto& o) { o.pair_weights = {1, 2, std::nan("")}; }, {"pair_weights", "finite"}));
    EXPECT_TRUE(refused([](auto& in) { in.k.heads = in.v.heads = 2; }, {"k", "2", "4"}));
    EXPECT_TRUE(refused([](auto& in) { in.v.dim = 5; }, {"v", "5", "6"}));
    EXPECT_TRUE(refused([](auto& in) { in.k_student = {}; }, {"k_student", "student"}));
    EXPECT_TRUE(refused([](auto& in) { in.q_student = in.k_student = {}; }, {"q_student", "student"}));
    EXPECT_TRUE(refused([](auto& in) { in.q_student.tokens = 6; }, {"q_student", "6", "7"}));
    const auto alone = without_student(x);
    const Outputs<call> kl(x, good, "kl"), loss(x, good, "loss");
    for (const auto* out : {&kl, &loss})
        EXPECT_TRUE(refuses([&] { analysis::relations(alone, out->list, good); }, {"relations", "given", "needs"}));
}

}  // namespace
}  // namespace attenta_test
