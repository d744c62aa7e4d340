#include <attenta/sparse/retrieval/triangular_spans.hpp>

#include "sparse/support/case.hpp"
#include "sparse/support/naive.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"

namespace attenta_test {
namespace {

using attenta::TokenSpan, attenta::TriangularSpansInputs, attenta::TriangularSpansOptions,
    attenta::TriangularSpansOutputs;
using Map = std::vector<std::vector<double>>;

/// Runs of similar tokens, so that there are spans.
struct Tokens {
    Tokens(const Shape& s, std::uint64_t seed)
        : random(seed),
          q(random_tensor(random, s.Hq, s.Tk, s.D, Order::token_head, 3, 0.6f)),
          k(random_tensor(random, s.Hkv, s.Tk, s.D, Order::head_token, 5, 0.6f)),
          v(random_tensor(random, s.Hkv, s.Tk, s.Dv, Order::token_head)) {
        const Tensor<float> topic = random_tensor(random, s.Hkv, 5, s.D, Order::head_token, 0, 1.5f);
        const auto add = [&](float* row, std::int64_t kv_head, std::int64_t t) {
            for (std::int64_t c = 0; c < s.D; ++c) row[c] += topic.row(kv_head, t * t % (s.Tk + 7) * 5 / (s.Tk + 7))[c];
        };
        q.each_row([&](float* row, std::int64_t h, std::int64_t t) { add(row, h / (s.Hq / s.Hkv), t); });
        k.each_row([&](float* row, std::int64_t h, std::int64_t t) { add(row, h, t); });
    }
    KvView kv() const { return KvView::of(View(k.view()), View(v.view())); }

    Random random;
    Tensor<float> q, k, v;
};

/// Softmax rows of tokens [first, end), heads summed.
Map naive_map(View q, View k, std::int64_t first, std::int64_t end, double scale) {
    Map map(static_cast<std::size_t>(end - first), std::vector<double>(static_cast<std::size_t>(end - first)));
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t i = first; i < end; ++i) {
            std::vector<double> p;
            double top = minus_infinity, sum = 0;
            for (std::int64_t j = first; j <= i; ++j)
                top = std::max(
                    top, p.emplace_back(scale * naive_dot(q.row(h, i), k.row(h / (q.heads / k.heads), j), q.dim)));
            for (double& s : p) sum += s = std::exp(s - top);
            for (std::size_t j = 0; j < p.size(); ++j) map[static_cast<std::size_t>(i - first)][j] += p[j] / sum;
        }
    return map;
}

double triangle(const Map& map, std::int64_t x, std::int64_t y, double theta) {
    double s = 0;
    for (std::int64_t i = x; i <= y; ++i)
        for (std::int64_t j = x; j <= i; ++j)
            s += map[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)] - theta;
    return s;
}

std::vector<TokenSpan> naive_spans(View q, View k, std::int64_t past, const TriangularSpansOptions& o) {
    std::vector<TokenSpan> all;
    for (std::int64_t first = 0; first < past; first += o.map_window.value_or(past)) {
        const std::int64_t width = std::min(o.map_window.value_or(past), past - first);
        const Map map = naive_map(q, k, first, first + width, naive_scale(o.scale, q.dim));
        std::vector<TokenSpan> some, kept;
        for (std::int64_t x = 0; x < width; ++x)
            for (std::int64_t y = x; y < width; ++y)
                if (const double s = triangle(map, x, y, o.theta);
                    s > 0 && y - x + 1 >= o.min_span && y - x + 1 <= o.max_span.value_or(width))
                    some.push_back({x, y, s, {}});
        std::stable_sort(some.begin(), some.end(), [](auto& a, auto& b) { return a.score > b.score; });
        for (const TokenSpan& s : some)
            if (std::all_of(kept.begin(), kept.end(), [&](auto& a) { return s.last < a.first || s.first > a.last; }))
                kept.push_back(s);
        std::vector<bool> taken(static_cast<std::size_t>(width));
        for (const TokenSpan& s : kept) std::fill(taken.begin() + s.first, taken.begin() + s.last + 1, true);
        for (std::int64_t t = 0; t < width; ++t)
            if (!taken[static_cast<std::size_t>(t)]) {
                if (t == 0 || taken[static_cast<std::size_t>(t - 1)]) kept.push_back({t, t, 0, {}});
                kept.back().last = t;
            }
        std::sort(kept.begin(), kept.end(), [](auto& a, auto& b) { return a.first < b.first; });
        for (TokenSpan s : kept) {
            std::vector<double> received;
            for (std::int64_t j = s.first; j <= s.last; ++j) {
                received.push_back(0);
                for (std::int64_t i = j; i <= s.last; ++i)
                    received.back() += map[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)];
            }
            for (const std::int64_t j : best(received, o.index_vectors)) s.index_tokens.push_back(first + s.first + j);
            all.push_back({first + s.first, first + s.last, s.score, s.index_tokens});
        }
    }
    return all;
}

Keys naive_chosen(View q, View k, const std::vector<TokenSpan>& spans, std::int64_t g,
                  const TriangularSpansOptions& o) {
    std::vector<double> fit;
    const std::int64_t group = q.heads / k.heads;
    for (const TokenSpan& s : spans) {
        double most = minus_infinity;
        for (const std::int64_t j : s.index_tokens) {
            double mean = 0;
            for (std::int64_t h = g * group; h < (g + 1) * group; ++h)
                for (std::int64_t t = q.tokens - o.local; t < q.tokens; ++t)
                    mean += naive_dot(q.row(h, t), k.row(g, j), q.dim) / static_cast<double>(group * o.local);
            most = std::max(most, mean);
        }
        fit.push_back(most);
    }
    return best(fit, o.top_spans);
}

Naive naive_triangular(View q, View k, View v, const std::vector<TokenSpan>& spans, const TriangularSpansOptions& o) {
    const std::int64_t past = q.tokens - o.local;
    return naive_where({q.row(0, past), q.heads, o.local, q.dim, q.head_stride, q.token_stride}, KvView::of(k, v),
                       naive_scale(o.scale, q.dim), [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                           if (j >= past || j < o.sink) return j <= i;
                           const Keys chosen = naive_chosen(q, k, spans, h / (q.heads / k.heads), o);
                           return std::any_of(chosen.begin(), chosen.end(), [&](std::int64_t n) {
                               const TokenSpan& s = spans[static_cast<std::size_t>(n)];
                               return j >= s.first && j <= s.last;
                           });
                       });
}

struct Result {
    Result(View q, std::int64_t dim_v, std::int64_t local) : out(q.heads, local, dim_v, Order::token_head, 3) {}
    TriangularSpansOutputs to() {
        TriangularSpansOutputs x;
        x.o = out.o.view();
        x.lse = out.lse.data();
        x.spans = &spans;
        x.chosen = &chosen;
        x.lists = &lists;
        return x;
    }

    Output out;
    std::vector<TokenSpan> spans;
    std::vector<Keys> chosen;
    KeyLists lists;
};

void expect_definition(View q, View k, View v, const KvView& kv, const TriangularSpansOptions& o) {
    const std::vector<TokenSpan> spans = naive_spans(q, k, q.tokens - o.local, o);
    const Naive want = naive_triangular(q, k, v, spans, o);
    on_every_isa([&](Context& context) {
        Result got(q, v.dim, o.local);
        attenta::triangular_spans({q, kv}, got.to(), o, context);
        EXPECT_TRUE(close(got.out, want));
        ASSERT_EQ(got.spans.size(), spans.size());
        for (std::size_t n = 0; n < spans.size(); ++n) {
            EXPECT_EQ(got.spans[n].first, spans[n].first);
            EXPECT_EQ(got.spans[n].last, spans[n].last);
            EXPECT_TRUE(Tolerance().holds(got.spans[n].score, spans[n].score)) << got.spans[n].score;
            EXPECT_EQ(got.spans[n].index_tokens, spans[n].index_tokens);
        }
        for (std::int64_t g = 0; g < k.heads; ++g)
            EXPECT_EQ(got.chosen[static_cast<std::size_t>(g)], naive_chosen(q, k, spans, g, o));
        EXPECT_EQ(got.lists.shape().queries, o.local);
    });
}

TEST(TriangularSpans, IsItsDefinition) {
    struct Case {
        Shape shape;
        TriangularSpansOptions options;
    };
    for (const Case& c : {
             Case{{1, 1, 2, 2, 8, 8}, {.local = 1}},
             Case{{4, 2, 60, 60, 16, 24}, {.local = 9, .theta = 0.43, .index_vectors = 2, .top_spans = 2, .sink = 2}},
             Case{{2, 2, 57, 57, 19, 16},
                  {.local = 12, .theta = 0.15, .top_spans = 3, .map_window = 20, .max_span = 9}},
             Case{{2, 1, 90, 90, 16, 7}, {.local = 70, .theta = 0.3, .top_spans = 1, .sink = 50}},
             Case{{6, 3, 80, 80, 16, 16}, {.local = 1, .theta = 0.61, .index_vectors = 50, .top_spans = 100}},
             Case{{2, 2, 70, 70, 16, 16}, {.local = 6, .theta = 0.33, .top_spans = 0, .sink = 1}},
             Case{{2, 2, 70, 70, 16, 16}, {.local = 6, .theta = 100, .top_spans = 1}},
             Case{{2, 2, 70, 70, 16, 16}, {.local = 6, .theta = 0.21, .top_spans = 4, .map_window = 1, .min_span = 1}},
             Case{{4, 2, 150, 150, 16, 16},
                  {.local = 20, .theta = 0.27, .top_spans = 5, .map_window = 67, .min_span = 5, .scale = 0.4f}},
         }) {
        const Tokens x(c.shape, 3);
        expect_definition(x.q.view(), x.k.view(), x.v.view(), x.kv(), c.options);
    }
}

TEST(TriangularSpans, ReadsPagesOfHalves) {
    const Tokens x({4, 2, 75, 75, 16, 24}, 4);
    const auto k = converted<float>(converted<attenta::bfloat16>(x.k.view()).view()),
               v = converted<float>(converted<attenta::bfloat16>(x.v.view()).view());
    const PagedPool<attenta::bfloat16> pool({{k.view(), v.view()}}, 8, PageLayout::token_head);
    expect_definition(x.q.view(), k.view(), v.view(), pool.view(),
                      {.local = 11, .theta = 0.37, .top_spans = 2, .map_window = 32});
}

/// Spans of whole windows are the same when more tokens have come, and may be kept.
TEST(TriangularSpans, TakesSpansThatWereKept) {
    const Tokens x({4, 2, 90, 90, 16, 24}, 5);
    const TriangularSpansOptions o{.local = 10, .theta = 0.4, .top_spans = 3, .map_window = 20};
    const std::vector<TokenSpan> kept = attenta::find_spans(x.q.view(), x.kv(), 80, o);
    Result want(x.q.view(), 24, 10), got(x.q.view(), 24, 10);
    attenta::triangular_spans({x.q.view(), x.kv()}, want.to(), o);
    attenta::triangular_spans({x.q.view(), x.kv(), &kept}, got.to(), o);
    EXPECT_TRUE(same_bits(want.out, got.out));
    EXPECT_EQ(want.chosen, got.chosen);
    const std::vector<TokenSpan> earlier = attenta::find_spans(x.q.view(), x.kv(), 40, o);
    for (std::size_t n = 0; n < earlier.size(); ++n) EXPECT_EQ(earlier[n].last, kept[n].last);
    EXPECT_TRUE(attenta::find_spans(x.q.view(), x.kv(), 0, o).empty());
}

TEST(TriangularSpans, IsTheSameForAnyThreads) {
    const Tokens x({8, 4, 120, 120, 16, 24}, 6);
    const TriangularSpansOptions o{.local = 30, .theta = 0.4, .top_spans = 3, .map_window = 50};
    std::optional<Result> first;
    for (const int threads : {1, 2, 3}) {
        attenta::ThreadPool pool(threads);
        Context context(pool);
        Result got(x.q.view(), 24, 30);
        attenta::triangular_spans({x.q.view(), x.kv()}, got.to(), o, context);
        if (first) {
            EXPECT_TRUE(same_bits(first->out, got.out));
            for (std::size_t n = 0; n < got.spans.size(); ++n) EXPECT_EQ(first->spans[n].score, got.spans[n].score);
        } else {
            first.emplace(std::move(got));
        }
    }
}

TEST(TriangularSpansErrors, AreRefused) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        const Tokens x({4, 2, 30, 30, 16, 24}, 5);
        TriangularSpansInputs in{x.q.view(), x.kv()};
        TriangularSpansOptions o{.local = 9};
        Result got(x.q.view(), 24, 9);
        TriangularSpansOutputs out = got.to();
        spoil(in, o, out, x);
        const auto result = refuses([&] { attenta::triangular_spans(in, out, o); }, words);
        const float fresh = untouched<float>();
        for (const float y : got.out.o.memory()) EXPECT_TRUE(same_bits(&y, &fresh, 1));
        for (const float y : got.out.lse) EXPECT_TRUE(same_bits(&y, &fresh, 1));
        return result;
    };
    for (const std::int64_t local : {0, 30, -1})
        EXPECT_TRUE(refused({"triangular_spans", "local", std::to_string(local), "29"},
                            [&](auto&, auto& o, auto&, auto&) { o.local = local; }));
    EXPECT_TRUE(refused({"triangular_spans", "theta"}, [](auto&, auto& o, auto&, auto&) { o.theta = std::nan(""); }));
    EXPECT_TRUE(refused({"triangular_spans", "index_vectors", "0", "1"},
                        [](auto&, auto& o, auto&, auto&) { o.index_vectors = 0; }));
    EXPECT_TRUE(
        refused({"triangular_spans", "top_spans", "-1", "0"}, [](auto&, auto& o, auto&, auto&) { o.top_spans = -1; }));
    EXPECT_TRUE(refused({"triangular_spans", "sink", "-1", "0"}, [](auto&, auto& o, auto&, auto&) { o.sink = -1; }));
    EXPECT_TRUE(
        refused({"triangular_spans", "map_window", "0", "1"}, [](auto&, auto& o, auto&, auto&) { o.map_window = 0; }));
    EXPECT_TRUE(
        refused({"triangular_spans", "min_span", "0", "1"}, [](auto&, auto& o, auto&, auto&) { o.min_span = 0; }));
    EXPECT_TRUE(
        refused({"triangular_spans", "max_span", "0", "1"}, [](auto&, auto& o, auto&, auto&) { o.max_span = 0; }));
    for (const float scale : {0.f, -1.f, std::nanf("")})
        EXPECT_TRUE(refused({"triangular_spans", "scale"}, [&](auto&, auto& o, auto&, auto&) { o.scale = scale; }));
    EXPECT_TRUE(refused({"triangular_spans", "q", "null"}, [](auto& in, auto&, auto&, auto&) { in.q.data = nullptr; }));
    EXPECT_TRUE(
        refused({"triangular_spans", "k", "null"}, [](auto& in, auto&, auto&, auto&) { in.kv.k.data = nullptr; }));
    EXPECT_TRUE(
        refused({"triangular_spans", "k", "29", "30"}, [](auto& in, auto&, auto&, auto&) { in.kv.tokens = 29; }));
    EXPECT_TRUE(refused({"triangular_spans", "q", "3", "2"}, [](auto& in, auto&, auto&, auto&) { in.q.heads = 3; }));
    EXPECT_TRUE(refused({"triangular_spans", "k", "15"}, [](auto& in, auto&, auto&, auto&) { in.kv.k.dim = 15; }));
    EXPECT_TRUE(refused({"triangular_spans", "o", "8", "9"}, [](auto&, auto&, auto& out, auto&) { out.o.tokens = 8; }));
    EXPECT_TRUE(refused({"triangular_spans", "o", "overlaps", "v"},
                        [](auto&, auto&, auto& out, const Tokens& x) { out.o.data = x.v.row(0, 0); }));
    for (const char* name : {"q", "k", "v"})
        EXPECT_TRUE(refused({"triangular_spans", name, "nan"}, [&](auto&, auto& o, auto&, const Tokens& x) {
            (*name == 'q' ? x.q : *name == 'k' ? x.k : x.v).row(1, 3)[2] = std::nanf("");
            o.check_data = true;
        }));
    for (const std::vector<TokenSpan>& spans : std::vector<std::vector<TokenSpan>>{
             {{0, 21, 0, {}}}, {{3, 5, 0, {}}, {5, 6, 0, {}}}, {{4, 3, 0, {}}}, {{0, 5, 0, {6}}}, {{-1, 5, 0, {}}}})
        EXPECT_TRUE(
            refused({"triangular_spans", "spans", "21"}, [&](auto& in, auto&, auto&, auto&) { in.spans = &spans; }));
}

}  // namespace
}  // namespace attenta_test
