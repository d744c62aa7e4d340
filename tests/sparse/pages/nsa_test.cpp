#include <attenta/sparse/pages/nsa.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::NsaBlockMeans, attenta::NsaInputs, attenta::NsaOptions, attenta::NsaOutputs;

struct NaiveBranches {
    Naive cmp, slc, win;
};

/// Keys or values of compressed blocks, given or means: [Hkv, blocks, dim].
struct NaiveBlocks {
    std::int64_t count = 0, dim = 0;
    std::vector<float> rows;

    NaiveBlocks(View given, View tokens, const NsaOptions& o) : dim(tokens.dim) {
        count = tokens.tokens < o.cmp_size ? 0 : (tokens.tokens - o.cmp_size) / o.cmp_stride + 1;
        for (std::int64_t h = 0; h < tokens.heads; ++h)
            for (std::int64_t b = 0; b < count; ++b)
                for (std::int64_t c = 0; c < dim; ++c) {
                    double sum = 0;
                    for (const std::int64_t j : range(b * o.cmp_stride, b * o.cmp_stride + o.cmp_size))
                        sum += double{tokens.row(h, j)[c]};
                    rows.push_back(given.data ? given.row(h, b)[c]
                                              : static_cast<float>(sum / static_cast<double>(o.cmp_size)));
                }
    }
    KvView with(const NaiveBlocks& v, std::int64_t heads) const {
        return KvView::of(attenta::hnd(rows.data(), heads, count, dim),
                          attenta::hnd(v.rows.data(), heads, count, v.dim));
    }
};

/// eq. 9: the sum over pieces m of a selection block and n of a compressed one.
std::vector<double> naive_importance(const std::vector<double>& p, const NsaOptions& o, std::int64_t units) {
    const std::int64_t per = o.slc_size / o.cmp_stride, pieces = o.cmp_size / o.cmp_stride;
    std::vector<double> sums;
    for (std::int64_t j = 0; j < units; ++j) {
        double sum = 0;
        for (std::int64_t m = 0; m < per; ++m)
            for (std::int64_t n = 0; n < pieces; ++n)
                if (const std::int64_t c = per * (j + 1) - 1 - m - n; c >= 0 && c < static_cast<std::int64_t>(p.size()))
                    sum += p[static_cast<std::size_t>(c)];
        sums.push_back(sum);
    }
    return sums;
}

NaiveBranches naive_branches(const NsaInputs& x, const NsaOptions& o) {
    const double scale = naive_scale(o.scale, x.q.dim);
    const std::int64_t first = x.kv.length(0) - x.q.tokens, group = x.q.heads / x.kv.heads;
    const NaiveBlocks k(k_of(x.cmp), k_of(x.kv), o), v(v_of(x.cmp), v_of(x.kv), o);
    const KvView cmp = k.with(v, x.kv.heads);
    const auto seen = [&](std::int64_t i) {
        std::int64_t n = 0;
        while (n < k.count && n * o.cmp_stride + o.cmp_size - 1 <= i) ++n;
        return n;
    };
    const auto probabilities = [&](std::int64_t h, std::int64_t row) {
        std::vector<double> p;
        double most = minus_infinity, sum = 0;
        for (const std::int64_t c : range(0, seen(first + row)))
            p.push_back(scale * naive_dot(x.q.row(h, row), k_of(cmp).row(h / group, c), x.q.dim));
        for (const double s : p) most = std::max(most, s);
        for (double& s : p) sum += s = std::exp(s - most);
        for (double& s : p) s /= sum;
        return p;
    };
    const auto selected = [&](std::int64_t h, std::int64_t row) {
        const std::int64_t i = first + row, own = i / o.slc_size;
        std::vector<double> sum(static_cast<std::size_t>(own + 1));
        for (std::int64_t g = h / group * group; g < (h / group + 1) * group; ++g) {
            const std::vector<double> of_head = naive_importance(probabilities(g, row), o, own + 1);
            for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += of_head[j];
        }
        for (std::int64_t j = 0; j <= own; ++j)
            if (j < o.init_blocks || j > own - o.local_blocks)
                sum[static_cast<std::size_t>(j)] = std::numeric_limits<double>::infinity();
        Keys keys;
        for (const std::int64_t j : best(sum, o.top_n))
            for (const std::int64_t t : range(j * o.slc_size, std::min((j + 1) * o.slc_size, i + 1))) keys.push_back(t);
        return keys;
    };
    return {naive_over(x.q, cmp, scale, [&](std::int64_t, std::int64_t row) { return range(0, seen(first + row)); }),
            naive_over(x.q, x.slc.k.data ? x.slc : x.kv, scale, selected),
            naive_over(x.q, x.win.k.data ? x.win : x.kv, scale, [&](std::int64_t, std::int64_t row) {
                return range(std::max<std::int64_t>(0, first + row + 1 - o.window), first + row + 1);
            })};
}

Naive naive_nsa(const NsaInputs& x, const NsaOptions& o) {
    const NaiveBranches b = naive_branches(x, o);
    Naive sum = b.cmp;
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::int64_t t = 0; t < x.q.tokens; ++t)
            for (std::int64_t c = 0; c < sum.dim; ++c)
                sum.o_row(h, t)[c] = double{x.g_cmp.row(h, t)[0]} * b.cmp.o_row(h, t)[c] +
                                     double{x.g_slc.row(h, t)[0]} * b.slc.o_row(h, t)[c] +
                                     double{x.g_win.row(h, t)[0]} * b.win.o_row(h, t)[c];
    return sum;
}

NsaOptions& options(SparseCase& c) { return options_of<NsaOptions>(c); }

void put_branch(SparseCase& c, const std::string& name, std::int64_t tokens) {
    c.put("k_" + name, c.shape.Hkv, tokens, c.shape.D);
    c.put("v_" + name, c.shape.Hkv, tokens, c.shape.Dv);
}

const auto& mechanism = test_sparse<&attenta::nsa, naive_nsa>({
    .name = "nsa",
    .variants = {{"equal blocks",
                  [](SparseCase& c) {
                      options(c) = {.cmp_size = 4,
                                    .cmp_stride = 4,
                                    .slc_size = 4,
                                    .top_n = 4,
                                    .window = 6,
                                    .init_blocks = 0,
                                    .local_blocks = 1};
                  }},
                 {"K and V of their own",
                  [](SparseCase& c) {
                      put_branch(c, "slc", c.shape.Tk), put_branch(c, "win", c.shape.Tk);
                      if (c.shape.Tk >= 6) put_branch(c, "cmp", (c.shape.Tk - 6) / 3 + 1);
                  }},
                 {"blocks of 64",
                  [](SparseCase& c) {
                      options(c) = {.cmp_size = 16, .cmp_stride = 8, .slc_size = 32, .top_n = 3, .window = 1};
                  }}},
    .sizes =
        [](SparseCase& c) { options(c) = {.cmp_size = 6, .cmp_stride = 3, .slc_size = 9, .top_n = 4, .window = 10}; },
    .has_lse = false,
    .outputs = {{"o_cmp", set_output<&attenta::NsaOutputs::o_cmp>},
                {"o_slc", set_output<&attenta::NsaOutputs::o_slc>},
                {"o_win", set_output<&attenta::NsaOutputs::o_win>}},
    .select = Selection<&attenta::nsa_lists>::call,
});

TEST(Nsa, GivesItsBranches) {
    SparseCase c = sparse_case(mechanism, {4, 2, 9, 70, 16, 24}, 2);
    const auto x = inputs_of<NsaInputs>(c);
    const NaiveBranches want = naive_branches(x, options(c));
    on_every_isa([&](attenta::Context& context) {
        Output o = output_of(c), cmp = output_of(c), slc = output_of(c), win = output_of(c);
        attenta::nsa(x, {{o.o.view()}, cmp.o.view(), slc.o.view(), win.o.view()}, options(c), context);
        for (const auto& [got, expected] :
             {std::pair{&cmp, &want.cmp}, std::pair{&slc, &want.slc}, std::pair{&win, &want.win}}) {
            std::copy(expected->lse.begin(), expected->lse.end(), got->lse.begin());
            EXPECT_TRUE(close(*got, *expected));
        }
    });
}

/// Means that were kept give the same lists and outputs.
TEST(NsaBlockMeans, GrowWithTheCache) {
    SparseCase c = sparse_case(mechanism, {4, 2, 1, 57, 16, 24});
    NsaInputs x = inputs_of<NsaInputs>(c);
    KeyLists want, got;
    attenta::nsa_lists(x, want, options(c));
    NsaBlockMeans means({2, 16, 24, 6, 3});
    for (const std::int64_t keys : {0, 1, 5, 6, 30, 57}) {
        const auto k = attenta::Heads<const float>(c.view("k")), v = attenta::Heads<const float>(c.view("v"));
        means.update(KvView::of(k.slice(0, keys), v.slice(0, keys)));
        EXPECT_EQ(means.tokens(), keys);
        EXPECT_EQ(means.view().tokens, keys < 6 ? 0 : (keys - 6) / 3 + 1);
    }
    x.cmp = means.view();
    attenta::nsa_lists(x, got, options(c));
    EXPECT_EQ(want.text(), got.text());
    Output plain = output_of(c), kept = output_of(c);
    Context context;
    call(c, plain, context);
    attenta::nsa(x, {{kept.o.view()}}, options(c), context);
    std::fill(kept.lse.begin(), kept.lse.end(), 0.f);
    EXPECT_TRUE(same_bits(plain, kept));
}

TEST(NsaErrors, OptionsAndBranches) {
    SparseCase c = sparse_case(mechanism, {4, 2, 5, 57, 16, 24}, 2);
    Output out = output_of(c), extra = output_of(c);
    NsaInputs x = inputs_of<NsaInputs>(c);
    const auto refused = [&](const NsaOptions& o, std::initializer_list<std::string_view> words) {
        const auto result = refuses([&] { attenta::nsa(x, {{out.o.view()}}, o); }, words);
        const float fresh = untouched<float>();
        for (const float e : out.o.memory())
            if (!same_bits(&e, &fresh, 1)) return testing::AssertionFailure() << "o was written";
        return result;
    };
    EXPECT_TRUE(refused({.cmp_stride = 0}, {"nsa", "cmp_stride", "0", "1"}));
    EXPECT_TRUE(refused({.cmp_size = 0}, {"nsa", "cmp_size", "0", "1"}));
    EXPECT_TRUE(refused({.cmp_size = 30}, {"nsa", "cmp_size", "30", "16"}));
    EXPECT_TRUE(refused({.slc_size = 72}, {"nsa", "slc_size", "72", "16"}));
    EXPECT_TRUE(refused({.slc_size = 16}, {"nsa", "slc_size", "16", "32"}));
    EXPECT_TRUE(refused({.top_n = 2}, {"nsa", "top_n", "2", "3"}));
    EXPECT_TRUE(refused({.window = 0}, {"nsa", "window", "0", "1"}));
    EXPECT_TRUE(refused({.init_blocks = -1}, {"nsa", "init_blocks", "-1", "0"}));
    EXPECT_TRUE(refused({.local_blocks = 0}, {"nsa", "local_blocks", "0", "1"}));
    EXPECT_TRUE(refused({.cmp_size = 8, .cmp_stride = 4, .slc_size = 8}, {"nsa", "k_cmp", "18", "13"}));
    const NsaInputs good = x;
    x.slc.tokens = 56;
    EXPECT_TRUE(refused(options(c), {"nsa", "k_slc", "56", "57"}));
    x = good;
    x.win.v = {};
    EXPECT_TRUE(refused(options(c), {"nsa", "v"}));
    x = good;
    x.cmp.k.dim = 15;
    EXPECT_TRUE(refused(options(c), {"nsa", "k_cmp", "15", "16"}));
    x = good;
    EXPECT_TRUE(refuses([&] { attenta::nsa(x, {{out.o.view(), out.lse.data()}}, options(c)); }, {"nsa", "lse"}));
    attenta::Heads<float> narrow = extra.o.view();
    narrow.dim = 23;
    EXPECT_TRUE(refuses([&] { attenta::nsa(x, {{out.o.view()}, {}, narrow}, options(c)); }, {"o_slc", "23", "24"}));
    c.view("k_cmp").row(1, 2)[3] = std::numeric_limits<float>::quiet_NaN();
    NsaOptions checked = options(c);
    checked.check_data = true;
    EXPECT_TRUE(refused(checked, {"nsa", "k_cmp", "nan"}));
}

}  // namespace
}  // namespace attenta_test
