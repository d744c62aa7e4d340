#include <attenta/sparse/content/combiner.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::CombinerInputs, attenta::CombinerOptions, attenta::CombinerSummary, attenta::CombinerVariant;

struct Region {
    std::int64_t begin, end;
    bool whole = false;  ///< one token, unpooled
};

std::vector<double> pooled(const Region& r, std::int64_t dim, CombinerSummary how, const auto& row) {
    const auto name = names_of(how)[static_cast<std::size_t>(how)];
    std::vector<double> result(static_cast<std::size_t>(dim));
    for (std::size_t c = 0; c < result.size(); ++c) {
        std::vector<double> x;
        for (std::int64_t j = r.begin; j < r.end; ++j) {
            x.push_back(double{row(j)[c]});
            if (name.starts_with("relu")) x.back() = std::max(x.back(), 0.0);
        }
        const double sum = std::accumulate(x.begin(), x.end(), 0.0);
        if (name.ends_with("max")) result[c] = *std::max_element(x.begin(), x.end());
        if (name.ends_with("mean")) result[c] = sum / static_cast<double>(x.size());
        if (name.ends_with("sum")) result[c] = sum;
    }
    return result;
}

/// Direct keys and regions of the query at i.
std::pair<Keys, std::vector<Region>> support(const CombinerOptions& o, std::int64_t i, std::int64_t tokens) {
    std::vector<Region> regions;
    if (o.variant == CombinerVariant::logsparse) {
        for (std::int64_t size = 1, end = i; size <= i; size *= 2)
            if (i & size) regions.push_back({end - size, end, size == 1}), end -= size;
        return {{i}, regions};
    }
    const std::int64_t own = i / *o.segment;
    for (std::int64_t s = 0; s * *o.segment < tokens; ++s)
        if (s < own || (!o.causal && (s > own || o.own_summary)))
            regions.push_back({s * *o.segment, std::min((s + 1) * *o.segment, tokens)});
    return {range(own * *o.segment, o.causal ? i + 1 : std::min((own + 1) * *o.segment, tokens)), regions};
}

Naive naive_combiner(const CombinerInputs& x, const CombinerOptions& o) {
    const View k = k_of(x.kv), v = v_of(x.kv);
    const double scale = naive_scale(o.scale, x.q.dim);
    const auto dot = [&](const auto& a, const auto* b) {
        double sum = 0;
        for (std::int64_t c = 0; c < k.dim; ++c) sum += double{a[c]} * double{b[c]};
        return sum;
    };
    Naive result = naive_result(x.q, x.kv);
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::int64_t i = 0; i < x.q.tokens; ++i) {
            const std::int64_t kv_head = h / (x.q.heads / k.heads);
            const auto key = [&](std::int64_t j) { return k.row(kv_head, j); };
            const auto query = [&](std::int64_t j) { return x.q.row(h, j); };
            NaiveRow row;
            std::deque<std::vector<float>> values;
            const auto [direct, regions] = support(o, i, k.tokens);
            for (const std::int64_t j : direct) row.add(scale * dot(query(i), key(j)), v.row(kv_head, j));
            for (const Region& r : regions) {
                if (r.whole) {
                    row.add(scale * dot(query(i), key(r.begin)), v.row(kv_head, r.begin));
                    continue;
                }
                const std::vector<double> q_r = pooled(r, k.dim, o.summary, query),
                                          k_r = pooled(r, k.dim, o.summary, key);
                NaiveRow inside;
                for (std::int64_t j = r.begin; j < r.end; ++j)
                    inside.add(scale * dot(q_r.data(), key(j)), v.row(kv_head, j));
                Naive value{1, 1, v.dim, std::vector<double>(static_cast<std::size_t>(v.dim)), {0.0}};
                inside.finish(value, 0, 0);
                values.emplace_back(value.o.begin(), value.o.end());
                row.add(scale * dot(query(i), k_r.data()), values.back().data());
            }
            row.finish(result, h, i);
        }
    return result;
}

CombinerOptions& options(SparseCase& c) { return options_of<CombinerOptions>(c); }

const auto& mechanism = test_sparse<&attenta::combiner, naive_combiner>({
    .name = "combiner",
    .positions = attenta::Positions::same,
    .variants = {{"segments of 1", [](SparseCase& c) { options(c).segment = 1; }},
                 {"one segment", [](SparseCase& c) { options(c).segment = 4096; }},
                 {"relu-max", [](SparseCase& c) { options(c).summary = CombinerSummary::relu_max; }},
                 {"identity-sum", [](SparseCase& c) { options(c).summary = CombinerSummary::identity_sum; }},
                 {"all others", [](SparseCase& c) { options(c).causal = false; }},
                 {"all others, means",
                  [](SparseCase& c) { options(c).causal = false, options(c).summary = CombinerSummary::relu_mean; }},
                 {"all, sums",
                  [](SparseCase& c) {
                      options(c).causal = false, options(c).own_summary = true;
                      options(c).summary = CombinerSummary::relu_sum;
                  }},
                 {"logsparse", [](SparseCase& c) { options(c).variant = CombinerVariant::logsparse; }},
                 {"logsparse means",
                  [](SparseCase& c) {
                      options(c).variant = CombinerVariant::logsparse;
                      options(c).summary = CombinerSummary::identity_mean;
                  }}},
    .sizes = [](SparseCase& c) { options(c).segment = 7; },
    .everything = [](SparseCase& c) { options(c).segment = 4096; },
});

/// Lengths around powers of two, where blocks of logsparse come and go.
TEST(Combiner, LogsparseOfAnyLength) {
    for (std::int64_t tokens = 1; tokens <= 34; ++tokens) {
        SparseCase c = sparse_case(mechanism, {2, 1, tokens, tokens, 8, 8}, 0, 5);
        options(c).variant = CombinerVariant::logsparse;
        Output got = output_of(c);
        Context context;
        call(c, got, context);
        EXPECT_TRUE(close(got, naive(c))) << tokens;
    }
}

TEST(Combiner, SegmentsAreAboutTheRootByDefault) {
    SparseCase c = sparse_case(mechanism, {2, 1, 50, 50, 8, 8}, 0, 6);
    options(c).segment = {};
    Output got = output_of(c);
    Context context;
    call(c, got, context);
    options(c).segment = 7;
    EXPECT_TRUE(close(got, naive(c)));
}

TEST(CombinerErrors, Options) {
    SparseCase c = sparse_case(mechanism, {2, 1, 9, 9, 8, 8});
    Output out = output_of(c);
    Context context;
    options(c).segment = 0;
    EXPECT_TRUE(refuses([&] { call(c, out, context); }, {"combiner", "segment", "0", "1"}));
    options(c).variant = CombinerVariant::logsparse;
    options(c).segment = {};
    options(c).causal = false;
    EXPECT_TRUE(refuses([&] { call(c, out, context); }, {"combiner", "causal", "logsparse"}));
    SparseCase longer = sparse_case(mechanism, {2, 1, 9, 9, 8, 8});
    longer.view("q").tokens = 8;
    attenta::Heads<float> o = out.o.view();
    o.tokens = 8;
    EXPECT_TRUE(refuses([&] { attenta::combiner(inputs_of<CombinerInputs>(longer), {o}); }, {"combiner", "8", "9"}));
}

}  // namespace
}  // namespace attenta_test
