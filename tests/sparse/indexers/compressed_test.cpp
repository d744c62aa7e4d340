#include <attenta/sparse/indexers/compressed.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::CompressedEntries, attenta::CompressedInputs, attenta::CompressedOptions;
using Rows = attenta::Matrices<const float>;

/// The last pairs of a row turn by an angle for each.
void naive_turn(double* row, std::int64_t dim, double position, std::span<const float> freq) {
    for (std::size_t n = 0; n < freq.size(); ++n) {
        double* const pair = row + dim - 2 * static_cast<std::int64_t>(freq.size() - n);
        const double angle = position * double{freq[n]}, a = pair[0], b = pair[1];
        pair[0] = a * std::cos(angle) - b * std::sin(angle);
        pair[1] = b * std::cos(angle) + a * std::sin(angle);
    }
}

/// One softmax over a window of tokens, the entries of `seen` and the sink.
Naive naive_compressed(const CompressedInputs& x, const CompressedOptions& o) {
    const View k = k_of(x.kv), v = v_of(x.kv);
    const double scale = naive_scale(o.scale, k.dim);
    const std::vector<float> nothing(static_cast<std::size_t>(v.dim));
    Naive result = naive_result(x.q, x.kv);
    for (std::int64_t t = 0; t < x.q.tokens; ++t) {
        const std::int64_t i = k.tokens - x.q.tokens + t;
        Keys seen = range(0, (i + 1) / o.rate);
        if (o.top_k) {
            std::vector<double> score;
            for (const std::int64_t e : seen) {
                double sum = 0;
                for (std::int64_t h = 0; h < x.q_idx.heads; ++h)
                    sum += double{x.w_idx.row(h, t)[0]} *
                           std::max(0.0, naive_dot(x.q_idx.row(h, t), x.k_idx.row(0, e), x.q_idx.dim));
                score.push_back(sum);
            }
            seen = best(score, *o.top_k);
        }
        for (std::int64_t h = 0; h < x.q.heads; ++h) {
            NaiveRow row;
            for (const std::int64_t j : range(std::max<std::int64_t>(0, i + 1 - o.window), i + 1))
                row.add(scale * naive_dot(x.q.row(h, t), k.row(0, j), k.dim), v.row(0, j));
            for (const std::int64_t e : seen)
                row.add(scale * naive_dot(x.q.row(h, t), x.k_cmp.row(0, e), k.dim),
                        (x.v_cmp.data ? x.v_cmp : x.k_cmp).row(0, e));
            if (!x.sink.empty()) row.add(double{x.sink[static_cast<std::size_t>(h)]}, nothing.data());
            row.finish(result, h, t);
            if (o.unrotate) naive_turn(result.o_row(h, t), v.dim, -static_cast<double>(i), x.rope_freq);
        }
    }
    return result;
}

CompressedOptions& options(SparseCase& c) { return options_of<CompressedOptions>(c); }

void put_optional(SparseCase& c) {
    const std::int64_t entries = c.shape.Tk / options(c).rate, Gi = c.sizes["Gi"];
    if (entries > 0) {
        c.put("k_cmp", 1, entries, c.shape.D);
        c.put("v_cmp", 1, entries, c.shape.Dv);
        c.put("k_idx", 1, entries, 12);
    }
    c.put("q_idx", Gi, c.shape.Tq, 12);
    c.put("w_idx", Gi, c.shape.Tq, 1);
}

const auto& mechanism = test_sparse<&attenta::compressed, naive_compressed>({
    .name = "compressed",
    .variants = {{"all entries", [](SparseCase& c) { options(c).top_k.reset(); }},
                 {"sink", [](SparseCase& c) { c.put("sink", 1, 1, c.shape.Hq); }},
                 {"rotation and sink, all entries",
                  [](SparseCase& c) {
                      c.put("rope_freq", 1, 1, std::min(c.shape.D, c.shape.Dv) / 2);
                      c.put("sink", 1, 1, c.shape.Hq, 3);
                      options(c).top_k.reset();
                  }},
                 {"rotation that stays",
                  [](SparseCase& c) { c.put("rope_freq", 1, 1, 2), options(c).unrotate = false; }},
                 {"own token alone, one entry",
                  [](SparseCase& c) { c.sizes["Gi"] = 1, options(c).window = 1, options(c).top_k = 1; }},
                 {"entries of one token", [](SparseCase& c) { options(c).rate = 1; }},
                 {"entries of 16",
                  [](SparseCase& c) { options(c).rate = 16, options(c).top_k.reset(), options(c).window = 40; }}},
    .sizes =
        [](SparseCase& c) {
            c.sizes["Hkv"] = c.shape.Hkv = 1;
            c.sizes["Gi"] = 3;
            options(c) = {.rate = 4, .window = 9, .top_k = 5};
        },
    .fill = put_optional,
    .select = Selection<&attenta::compressed_lists>::call,
});

/// The keys are the values, or their first channels.
TEST(Compressed, KeysAreValues) {
    for (const std::int64_t dim_v : {16, 10}) {
        SparseCase c = sparse_case(mechanism, {6, 1, 40, 75, 16, dim_v}, 3);
        CompressedInputs x = inputs_of<CompressedInputs>(c);
        x.v_cmp = {};
        x.kv.v = x.kv.k;
        x.kv.v.dim = dim_v;
        const Naive want = naive_compressed(x, options(c));
        on_every_isa([&](attenta::Context& context) {
            Output got = output_of(c);
            attenta::compressed(x, {got.o.view(), got.lse.data()}, options(c), context);
            EXPECT_TRUE(close(got, want));
        });
    }
}

/// Positions of a million tokens: angles are exact.
TEST(Compressed, TurnsFarPositionsBack) {
    const std::int64_t tokens = 1 << 20, dim = 4;
    Random random(1);
    const auto k = random_tensor(random, 1, tokens, dim), q = random_tensor(random, 2, 1, dim);
    const std::vector<float> freq = {1.f, 0.7f};
    CompressedInputs x{.q = q.view(), .kv = KvView::of(View(k.view()), View(k.view())), .rope_freq = freq};
    const auto entries = random_tensor(random, 1, 2, dim);
    x.k_cmp = {entries.view().data, 1, 2, dim};
    Output got(2, 1, dim);
    const CompressedOptions o{.rate = tokens / 2, .window = 3};
    attenta::compressed(x, {got.o.view(), got.lse.data()}, o);
    EXPECT_TRUE(close(got, naive_compressed(x, o)));
}

/// What entries are pooled from.
struct PoolCase {
    std::int64_t tokens, dim, rate;
    bool overlap;
    Random random{7};
    Tensor<float> kv, gate, bias, norm, freq;

    PoolCase(std::int64_t t, std::int64_t d, std::int64_t r, bool both)
        : tokens(t),
          dim(d),
          rate(r),
          overlap(both),
          kv(random_tensor(random, 1, t, channels())),
          gate(random_tensor(random, 1, t, channels(), Order::head_token, 0, 3.f)),
          bias(random_tensor(random, 1, r, channels())),
          norm(random_tensor(random, 1, 1, d)),
          freq(random_tensor(random, 1, 1, d / 2)) {}

    std::int64_t channels() const { return overlap ? 2 * dim : dim; }
    static Rows rows(const Tensor<float>& x) { return {x.view().data, 1, x.view().tokens, x.view().dim}; }
    static std::span<const float> all(const Tensor<float>& x) {
        return {x.view().data, static_cast<std::size_t>(x.view().dim)};
    }
    CompressedEntries::Form form() const { return {dim, rate, overlap, rows(bias), all(norm), all(freq), 0.01f}; }

    /// Entry w from the definition: a softmax for each channel over the window and, with overlap, the one before.
    std::vector<double> entry(std::int64_t w) const {
        std::vector<double> row(static_cast<std::size_t>(dim));
        double squares = 0;
        for (std::int64_t c = 0; c < dim; ++c) {
            double sum = 0, value = 0;
            const auto add = [&](std::int64_t window, std::int64_t channel) {
                for (std::int64_t p = 0; p < rate; ++p) {
                    const std::int64_t t = window * rate + p;
                    const double weight = std::exp(double{gate.row(0, t)[channel]} + double{bias.row(0, p)[channel]});
                    sum += weight;
                    value += weight * double{kv.row(0, t)[channel]};
                }
            };
            if (overlap && w > 0) add(w - 1, c);
            add(w, overlap ? dim + c : c);
            double& x = row[static_cast<std::size_t>(c)] = value / sum;
            squares += x * x;
        }
        for (std::int64_t c = 0; c < dim; ++c)
            row[static_cast<std::size_t>(c)] *=
                double{norm.row(0, 0)[c]} / std::sqrt(squares / static_cast<double>(dim) + 0.01);
        naive_turn(row.data(), dim, static_cast<double>(w * rate), all(freq));
        return row;
    }
};

TEST(CompressedEntries, ArePooledTokenByToken) {
    for (const bool overlap : {false, true})
        for (const std::int64_t dim : {6, 130}) {
            const PoolCase c(59, dim, 4, overlap);
            CompressedEntries whole(c.form()), parts(c.form());
            attenta::ThreadPool pool(2);
            Context context(pool);
            whole.append(PoolCase::rows(c.kv), PoolCase::rows(c.gate), context);
            std::int64_t at = 0;
            for (const std::int64_t n : {0, 1, 3, 7, 1, 30, 17}) {
                parts.append({c.kv.row(0, at), 1, n, c.channels()}, {c.gate.row(0, at), 1, n, c.channels()});
                at += n;
                EXPECT_EQ(parts.tokens(), at);
                EXPECT_EQ(parts.rows().rows, at / 4);
            }
            ASSERT_EQ(whole.rows().rows, 14);
            EXPECT_TRUE(same_bits(whole.rows().data, parts.rows().data, 14 * dim));
            for (std::int64_t w = 0; w < 14; ++w) {
                const std::vector<double> want = c.entry(w);
                for (std::int64_t i = 0; i < dim; ++i)
                    EXPECT_NEAR(double{whole.rows().row(0, w)[i]}, want[static_cast<std::size_t>(i)], 2e-5)
                        << "entry " << w << ", channel " << i;
            }
        }
}

/// A large gate takes all, and one of -inf nothing.
TEST(CompressedEntries, TakeAnyGate) {
    const float inf = std::numeric_limits<float>::infinity();
    const std::vector<float> kv = {9, 9, 3, 4, -5, 0, 8, 8}, gate = {-inf, -inf, 500, 500, 400, 500, -300, -inf};
    CompressedEntries entries({.dim = 2, .rate = 2, .eps = 0});
    entries.append({kv.data(), 1, 4, 2}, {gate.data(), 1, 4, 2});
    const float root = std::sqrt(2.f);
    const std::vector<float> want = {0.6f * root, 0.8f * root, -root, 0.f};
    for (std::size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(entries.rows().data[i], want[i]);
}

TEST(CompressedEntries, RefuseWhatDoesNotFit) {
    const PoolCase c(8, 6, 4, true);
    const auto refused = [](const CompressedEntries::Form& form, std::initializer_list<std::string_view> words) {
        return refuses([&] { CompressedEntries entries(form); }, words);
    };
    CompressedEntries::Form form = c.form();
    form.dim = 0;
    EXPECT_TRUE(refused(form, {"CompressedEntries", "dim", "0", "1"}));
    form = c.form();
    form.rate = 0;
    EXPECT_TRUE(refused(form, {"CompressedEntries", "rate", "0", "1"}));
    form = c.form();
    form.overlap = false;
    EXPECT_TRUE(refused(form, {"CompressedEntries", "bias", "12", "6"}));
    form = c.form();
    form.norm = form.norm.first(5);
    EXPECT_TRUE(refused(form, {"CompressedEntries", "norm", "5", "6"}));
    form = c.form();
    form.freq = PoolCase::all(c.norm).first(4);
    EXPECT_TRUE(refused(form, {"CompressedEntries", "freq", "8", "6"}));
    CompressedEntries entries(c.form());
    Rows kv = PoolCase::rows(c.kv), gate = PoolCase::rows(c.gate);
    gate.rows = 7;
    EXPECT_TRUE(refuses([&] { entries.append(kv, gate); }, {"CompressedEntries::append", "8", "7", "12"}));
}

TEST(CompressedErrors, OptionsAndInputs) {
    SparseCase c = sparse_case(mechanism, {4, 1, 5, 57, 16, 24});
    Output out = output_of(c);
    const CompressedInputs good = inputs_of<CompressedInputs>(c);
    CompressedInputs x = good;
    const auto refused = [&](const CompressedOptions& o, std::initializer_list<std::string_view> words) {
        const auto result = refuses([&] { attenta::compressed(x, {out.o.view(), out.lse.data()}, o); }, words);
        const float fresh = untouched<float>();
        for (const float e : out.o.memory())
            if (!same_bits(&e, &fresh, 1)) return testing::AssertionFailure() << "o was written";
        x = good;
        return result;
    };
    EXPECT_TRUE(refused({.rate = 0}, {"compressed", "rate", "0", "1"}));
    EXPECT_TRUE(refused({.window = 0}, {"compressed", "window", "0", "1"}));
    EXPECT_TRUE(refused({.top_k = 0}, {"compressed", "top_k", "0", "1"}));
    EXPECT_TRUE(refused({.rate = 5}, {"compressed", "k_cmp", "14", "11"}));
    x.kv.heads = 2;
    x.kv.k.head_stride = x.kv.v.head_stride = 0;
    EXPECT_TRUE(refused({}, {"compressed", "k", "2", "heads"}));
    x.k_cmp = {};
    EXPECT_TRUE(refused({}, {"compressed", "k_cmp", "0", "14"}));
    x.v_cmp = {};
    EXPECT_TRUE(refused({}, {"compressed", "v_cmp", "0", "14"}));
    x.kv.v = x.kv.k;
    EXPECT_TRUE(refuses([&] { attenta::compressed_lists(x, *std::make_unique<KeyLists>(), {.top_k = 3}); },
                        {"compressed", "v_cmp"}));
    x = good;
    for (const char* name : {"q_idx", "w_idx", "k_idx"}) {
        if (name[0] == 'q') x.q_idx = {};
        if (name[0] == 'w') x.w_idx = {};
        if (name[0] == 'k') x.k_idx = {};
        EXPECT_TRUE(refused({.top_k = 3}, {"compressed", name}));
    }
    const std::vector<float> freq(9, 1.f);
    x.rope_freq = freq;
    EXPECT_TRUE(refused({}, {"compressed", "rope_freq", "18", "16"}));
    x.sink = std::span<const float>(freq).first(3);
    EXPECT_TRUE(refused({}, {"compressed", "sink", "3", "4"}));
    KeyLists lists;
    EXPECT_TRUE(refuses([&] { attenta::compressed_lists(x, lists, {}); }, {"compressed", "top_k"}));
}

}  // namespace
}  // namespace attenta_test
