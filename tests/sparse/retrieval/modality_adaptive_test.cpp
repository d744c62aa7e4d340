#include <attenta/sparse/retrieval/modality_adaptive.hpp>

#include <set>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::ModalityAdaptiveInputs, attenta::ModalityAdaptiveOptions, attenta::ModalityAdaptiveOutputs,
    attenta::ModalityState;

/// The definition, token by token.
struct NaiveModality {
    NaiveModality(const ModalityAdaptiveInputs& in, const ModalityAdaptiveOptions& options)
        : x(in), o(options), k(k_of(in.kv)), v(v_of(in.kv)), result(naive_result(in.q, in.kv)) {
        const std::int64_t prompt = std::ssize(x.modality), first = k.tokens - x.q.tokens, rows = prompt - first;
        Keys images, early;
        for (std::int64_t j = 0; j < prompt; ++j)
            if (x.modality[static_cast<std::size_t>(j)] == 1) images.push_back(j);
        later = images.empty() ? 0 : images.back() + 1;
        for (std::int64_t j = 0; j < later; ++j)
            if (x.modality[static_cast<std::size_t>(j)] == 0) early.push_back(j);
        received.assign(static_cast<std::size_t>(k.heads), std::vector<double>(static_cast<std::size_t>(k.tokens)));
        text.assign(static_cast<std::size_t>(k.heads), range(later, prompt));
        std::vector<double> s;
        for (std::int64_t r = 0; r < rows; ++r)
            s = row(r, std::vector<Keys>(text.size(), range(0, first + r + 1)), first + r >= later);
        secondary = pick(images, s, o.secondary_rate, images);
        core = pick(images, s, o.core_rate, images);
        drop(prompt - later);
        for (std::int64_t n = 1; rows + n <= x.q.tokens; ++n) {
            const bool full = n % o.interval == 0;
            std::vector<Keys> keys;
            for (Keys& held : text) {
                held.push_back(prompt + n - 1);
                std::set<std::int64_t> all(early.begin(), early.end());
                all.insert(held.begin(), held.end());
                const Keys& some = full ? secondary : core;
                all.insert(some.begin(), some.end());
                keys.emplace_back(all.begin(), all.end());
            }
            s = row(rows + n - 1, keys, true);
            if (full) core = pick(secondary, s, o.core_rate, images);
            drop(prompt + n - later);
        }
    }

    /// Writes a row; probabilities summed over heads.
    std::vector<double> row(std::int64_t r, const std::vector<Keys>& keys, bool counts) {
        std::vector<double> all(static_cast<std::size_t>(k.tokens));
        for (std::int64_t h = 0; h < x.q.heads; ++h) {
            const std::int64_t g = h / (x.q.heads / k.heads);
            const Keys& own = keys[static_cast<std::size_t>(g)];
            NaiveRow softmax;
            for (const std::int64_t j : own)
                softmax.add(naive_scale(o.scale, k.dim) * naive_dot(x.q.row(h, r), k.row(g, j), k.dim), v.row(g, j));
            softmax.finish(result, h, r);
            const double lse = result.lse[static_cast<std::size_t>(h * x.q.tokens + r)];
            for (std::size_t i = 0; i < own.size(); ++i) {
                const auto j = static_cast<std::size_t>(own[i]);
                all[j] += std::exp(softmax.scores[i] - lse);
                if (counts) received[static_cast<std::size_t>(g)][j] += std::exp(softmax.scores[i] - lse);
            }
        }
        used.push_back(std::ssize(keys[0]));
        return all;
    }

    static Keys pick(const Keys& among, const std::vector<double>& score, double rate, const Keys& images) {
        std::vector<double> own;
        for (const std::int64_t j : among) own.push_back(score[static_cast<std::size_t>(j)]);
        Keys chosen;
        for (const std::int64_t i :
             best(own, static_cast<std::int64_t>(std::floor(rate * static_cast<double>(images.size()) + 1e-9))))
            chosen.push_back(among[static_cast<std::size_t>(i)]);
        return chosen;
    }

    void drop(std::int64_t seen) {
        const double share = o.text_rate * static_cast<double>(seen), below = std::floor(share);
        double rounded = share - below < 0.5 ? below : below + 1;
        if (share - below == 0.5) rounded = std::fmod(below, 2) == 0 ? below : below + 1;
        const std::int64_t budget = std::max(static_cast<std::int64_t>(rounded), o.text_min);
        const auto heavy = static_cast<std::int64_t>(std::floor(o.heavy_rate * static_cast<double>(budget) + 1e-9));
        for (std::size_t g = 0; g < text.size(); ++g) {
            if (std::ssize(text[g]) <= budget) continue;
            const auto cut = text[g].end() - (budget - heavy);
            Keys old(text[g].begin(), cut), kept;
            std::vector<double> score;
            for (const std::int64_t j : old) score.push_back(received[g][static_cast<std::size_t>(j)]);
            for (const std::int64_t i : best(score, heavy)) kept.push_back(old[static_cast<std::size_t>(i)]);
            kept.insert(kept.end(), cut, text[g].end());
            text[g] = kept;
        }
    }

    const ModalityAdaptiveInputs& x;
    const ModalityAdaptiveOptions& o;
    View k, v;
    Naive result;
    std::int64_t later = 0;
    std::vector<std::vector<double>> received;
    std::vector<Keys> text;
    Keys secondary, core, used;
};

Naive naive_modality(const ModalityAdaptiveInputs& x, const ModalityAdaptiveOptions& options) {
    return NaiveModality(x, options).result;
}

ModalityAdaptiveOptions& options(SparseCase& c) { return options_of<ModalityAdaptiveOptions>(c); }

/// The last `decoded` of q are steps; images are in [from, to) eighths of the prompt, with a word in between.
void draw(SparseCase& c, std::int64_t decoded, std::int64_t from, std::int64_t to) {
    const std::int64_t prompt = c.shape.Tk - std::min(decoded, c.shape.Tq - 1);
    std::vector<std::int64_t> modality(static_cast<std::size_t>(prompt));
    for (std::int64_t j = prompt * from / 8; j < prompt * to / 8; ++j)
        modality[static_cast<std::size_t>(j)] = j % 11 == 5 ? 0 : 1;
    c.put_integers("modality", std::move(modality));
}

const auto& mechanism = test_sparse<&attenta::modality_adaptive, naive_modality>({
    .name = "modality_adaptive",
    .variants = {{"many steps", [](SparseCase& c) { options(c).text_min = 3; }},
                 {"no image", [](SparseCase& c) { options(c).text_min = 2; }},
                 {"images at the end", [](SparseCase& c) { options(c).text_min = 1; }},
                 {"nothing dropped", [](SparseCase& c) { options(c) = {.interval = 2}; }},
                 {"text by age alone", [](SparseCase& c) { options(c).heavy_rate = 0; }},
                 {"text by weight alone", [](SparseCase& c) { options(c).heavy_rate = 1; }}},
    .sizes =
        [](SparseCase& c) {
            options(c) = {.interval = 3, .secondary_rate = 0.5, .core_rate = 0.2, .text_rate = 0.45, .text_min = 4};
        },
    .fill =
        [](SparseCase& c) {
            const std::int64_t variant = options(c).text_min;
            draw(c, variant == 3 ? 40 : 7, variant == 1 ? 3 : 1, variant == 2 ? 1 : variant == 1 ? 8 : 5);
        },
    .outputs = {{"used", set_output<&attenta::ModalityAdaptiveOutputs::used>}},
});

TEST(ModalityAdaptive, GivesWhatItKeeps) {
    for (std::size_t variant = 0; variant < mechanism.variants.size(); ++variant) {
        const SparseCase c = sparse_case(mechanism, {4, 2, 50, 90, 16, 24}, variant, 21);
        SCOPED_TRACE(c.words);
        const auto x = inputs_of<ModalityAdaptiveInputs>(c);
        const auto o = std::any_cast<ModalityAdaptiveOptions>(c.options);
        const NaiveModality want(x, o);
        Output got = output_of(c);
        Keys used(50);
        ModalityState state;
        ModalityAdaptiveOutputs out{{.o = got.o.view(), .lse = got.lse.data()}, used.data(), &state};
        attenta::modality_adaptive(x, out, o);
        EXPECT_TRUE(close(got, want.result));
        EXPECT_EQ(used, want.used);
        EXPECT_EQ(state.secondary(), want.secondary);
        EXPECT_EQ(state.core(), want.core);
        for (std::int64_t g = 0; g < 2; ++g) {
            EXPECT_EQ(state.text(g), want.text[static_cast<std::size_t>(g)]);
            for (const std::int64_t j : state.text(g)) EXPECT_TRUE(state.keeps(g, j));
            EXPECT_FALSE(state.keeps(g, 90));
        }
        EXPECT_EQ(state.tokens(), 90);
    }
}

/// Step by step on a cache that grows, from a copy of the state as well.
TEST(ModalityAdaptive, IsItsSteps) {
    const SparseCase c = sparse_case(mechanism, {4, 2, 50, 90, 16, 24}, 1, 5);
    const auto x = inputs_of<ModalityAdaptiveInputs>(c);
    Output whole = output_of(c), parts = output_of(c);
    KeyLists lists;
    ModalityAdaptiveOutputs out;
    out.o = whole.o.view();
    out.lse = whole.lse.data();
    out.lists = &lists;
    const auto o = std::any_cast<ModalityAdaptiveOptions>(c.options);
    attenta::modality_adaptive(x, out, o);
    const std::int64_t prompt = std::ssize(x.modality), rows = prompt - 40;
    const auto cache = [&](std::int64_t tokens) {
        KvView kv = x.kv;
        kv.tokens = tokens;
        return kv;
    };
    const auto lse = [&](std::int64_t begin, std::int64_t count) {
        return attenta::Heads<float>{parts.lse.data() + begin, 4, count, 1, 50, 1};
    };
    ModalityState state(x.modality, 2, o);
    state.prefill(x.q.slice(0, rows), cache(prompt), parts.o.view().slice(0, rows), lse(0, rows));
    for (std::int64_t t = rows; t < 50; ++t) {
        const KeyLists next = state.next(41 + t);
        EXPECT_TRUE(
            std::equal(next.runs(1).begin(), next.runs(1).end(), lists.runs(50 + t).begin(), lists.runs(50 + t).end()));
        if (t % 5 == 0) state = ModalityState(state);
        state.step(x.q.slice(t, 1), cache(41 + t), parts.o.view().slice(t, 1), lse(t, 1));
    }
    EXPECT_LT(distance(whole, parts), 1e-5);
}

TEST(ModalityAdaptiveErrors, AreRefused) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        SparseCase c = sparse_case(mechanism, {4, 2, 9, 40, 16, 24});
        Output out = output_of(c);
        std::vector<std::int64_t>& modality = c.integers.find("modality")->second.data;
        spoil(options(c), modality);
        c.integers.find("modality")->second.dim = std::ssize(modality);
        Context context;
        const auto result = refuses([&] { call(c, out, context); }, words);
        const float fresh = untouched<float>();
        for (const float y : out.o.memory()) EXPECT_TRUE(same_bits(&y, &fresh, 1));
        return result;
    };
    EXPECT_TRUE(refused({"modality_adaptive", "interval", "0", "1"}, [](auto& o, auto&) { o.interval = 0; }));
    EXPECT_TRUE(refused({"modality_adaptive", "text_min", "0", "1"}, [](auto& o, auto&) { o.text_min = 0; }));
    for (const double rate : {0.0, -0.5, 1.5, std::nan("")}) {
        EXPECT_TRUE(refused({"modality_adaptive", "secondary_rate"}, [&](auto& o, auto&) { o.secondary_rate = rate; }));
        EXPECT_TRUE(refused({"modality_adaptive", "core_rate"}, [&](auto& o, auto&) { o.core_rate = rate; }));
        EXPECT_TRUE(refused({"modality_adaptive", "text_rate"}, [&](auto& o, auto&) { o.text_rate = rate; }));
        if (rate != 0) {
            EXPECT_TRUE(refused({"modality_adaptive", "heavy_rate"}, [&](auto& o, auto&) { o.heavy_rate = rate; }));
        }
    }
    EXPECT_TRUE(refused({"modality_adaptive", "core_rate", "0"}, [](auto& o, auto&) { o.core_rate = 0.6; }));
    EXPECT_TRUE(refused({"modality_adaptive", "modality", "2", "3"}, [](auto&, auto& m) { m[3] = 2; }));
    EXPECT_TRUE(refused({"modality_adaptive", "modality", "31", "32"}, [](auto&, auto& m) { m.resize(31); }));
    EXPECT_TRUE(refused({"modality_adaptive", "modality", "41", "40"}, [](auto&, auto& m) { m.resize(41); }));
}

TEST(ModalityAdaptiveErrors, OfTheState) {
    const SparseCase c = sparse_case(mechanism, {4, 2, 9, 40, 16, 24});
    const auto x = inputs_of<ModalityAdaptiveInputs>(c);
    Output out = output_of(c);
    const auto o = out.o.view();
    ModalityState state(x.modality, 2, {});
    EXPECT_TRUE(refuses([&] { ModalityState({}, 2, {}); }, {"ModalityState", "modality"}));
    EXPECT_TRUE(refuses([&] { ModalityState(x.modality, 0, {}); }, {"ModalityState", "kv_heads", "0", "1"}));
    EXPECT_TRUE(refuses([&] { state.step(x.q, x.kv, o); }, {"step", "q", "9"}));
    KvView kv = x.kv;
    kv.tokens = std::ssize(x.modality);
    EXPECT_TRUE(refuses([&] { state.step(x.q.slice(0, 1), kv, o.slice(0, 1)); }, {"step", "k"}));
    EXPECT_TRUE(refuses([&] { state.prefill(x.q.slice(0, 0), x.kv, o.slice(0, 0)); }, {"prefill", "q", "0"}));
    EXPECT_TRUE(refuses([&] { state.prefill(x.q.slice(0, 2), x.kv, o); }, {"prefill", "o", "9", "2"}));
    kv.heads = 1;
    EXPECT_TRUE(refuses([&] { state.prefill(x.q.slice(0, 2), kv, o.slice(0, 2)); }, {"prefill", "kv", "1", "2"}));
}

}  // namespace
}  // namespace attenta_test
