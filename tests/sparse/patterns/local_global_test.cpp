#include <attenta/sparse/patterns/local_global.hpp>

#include "exact_mask.hpp"
#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"

namespace attenta_test {
namespace {

using attenta::LocalGlobalInputs, attenta::LocalGlobalOptions;

bool is_global(std::span<const std::int64_t> global, std::int64_t j) {
    return std::find(global.begin(), global.end(), j) != global.end();
}

/// Of tokens that are not global.
bool sees(const LocalGlobalOptions& o, std::span<const std::int64_t> global, std::int64_t h, std::int64_t i,
          std::int64_t j) {
    if (o.causal && j > i) return false;
    const std::int64_t d = o.dilation[o.dilation.size() == 1 ? 0 : static_cast<std::size_t>(h)];
    return (std::abs(i - j) % d == 0 && std::abs(i - j) / d <= o.window) || is_global(global, j);
}

Naive naive_local_global(const LocalGlobalInputs& x, const LocalGlobalOptions& options) {
    const double scale = naive_scale(options.scale, x.q.dim);
    Naive result = naive_where(x.q, x.kv, scale, [&](std::int64_t h, std::int64_t i, std::int64_t j) {
        return sees(options, x.global_index, h, i, j);
    });
    const KvView& kv = x.kv_global.k.data ? x.kv_global : x.kv;
    const View k = k_of(kv), v = v_of(kv);
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::size_t g = 0; g < x.global_index.size(); ++g) {
            const std::int64_t i = x.global_index[g], kv_head = h / (x.q.heads / kv.heads);
            const float* const q = x.q_global.data ? x.q_global.row(h, static_cast<std::int64_t>(g)) : x.q.row(h, i);
            NaiveRow row;
            for (std::int64_t j = 0; j < (options.causal ? i + 1 : k.tokens); ++j)
                row.add(scale * naive_dot(q, k.row(kv_head, j), k.dim), v.row(kv_head, j));
            row.finish(result, h, i);
        }
    return result;
}

LocalGlobalOptions& options(SparseCase& c) { return options_of<LocalGlobalOptions>(c); }

/// Some tokens of the sequence, in no order; projections of their own where the case says so.
void draw(SparseCase& c) {
    std::vector<std::int64_t> global;
    for (const std::int32_t j : c.random.permutation(c.shape.Tk))
        if (static_cast<std::int64_t>(global.size()) < c.sizes["G"]) global.push_back(j);
    const auto count = static_cast<std::int64_t>(global.size());
    if (c.sizes["own q"]) c.put("q_global", c.shape.Hq, count, c.shape.D);
    if (c.sizes["own kv"]) {
        c.put("k_global", c.shape.Hkv, c.shape.Tk, c.shape.D);
        c.put("v_global", c.shape.Hkv, c.shape.Tk, c.shape.Dv);
    }
    c.put_integers("global_index", std::move(global));
}

/// 1, 3, 1, 2, 1, 3, ….
std::vector<std::int64_t> several_dilations(std::int64_t heads) {
    std::vector<std::int64_t> d;
    for (std::int64_t h = 0; h < heads; ++h) d.push_back(h % 2 == 0 ? 1 : 3 - h / 2 % 2);
    return d;
}

void set_own(SparseCase& c) { c.sizes["own q"] = c.sizes["own kv"] = 1; }

const auto& mechanism = test_sparse<&attenta::local_global, naive_local_global>({
    .name = "local_global",
    .positions = attenta::Positions::same,
    .variants = {{"no global tokens", [](SparseCase& c) { c.sizes["G"] = 0; }},
                 {"own projections", set_own},
                 {"own queries", [](SparseCase& c) { c.sizes["own q"] = 1; }},
                 {"own keys", [](SparseCase& c) { c.sizes["own kv"] = 1; }},
                 {"causal", [](SparseCase& c) { options(c).causal = true; }},
                 {"causal with own projections", [](SparseCase& c) { options(c).causal = true, set_own(c); }},
                 {"dilated", [](SparseCase& c) { options(c).dilation = {3}; }},
                 {"dilated and causal", [](SparseCase& c) { options(c).dilation = {2}, options(c).causal = true; }},
                 {"several dilations", [](SparseCase& c) { options(c).dilation = several_dilations(c.shape.Hq); }},
                 {"no global tokens and dilated", [](SparseCase& c) { c.sizes["G"] = 0, options(c).dilation = {4}; }},
                 {"only itself", [](SparseCase& c) { options(c).window = 0; }},
                 {"all tokens are global", [](SparseCase& c) { c.sizes["G"] = 1000; }},
                 {"a window of everything", [](SparseCase& c) { options(c).window = INT64_MAX; }},
                 {"the widest dilation", [](SparseCase& c) { options(c).dilation = {INT64_MAX}; }}},
    .sizes = [](SparseCase& c) { options(c).window = 6, c.sizes["G"] = 3; },
    .fill = draw,
    .causal = false,
});

TEST(LocalGlobal, ShowsItsPattern) {
    const std::vector<std::int64_t> global = {11, 2};
    for (const bool causal : {true, false})
        for (const int head : {0, 1}) {
            const LocalGlobalOptions o{.window = 2, .dilation = {1, 3}, .causal = causal};
            expect_exact(
                attenta::local_global_mask(global, o), 0, 20,
                [&](std::int64_t i, std::int64_t j) {
                    return sees(o, global, head, i, j) || (is_global(global, i) && (!causal || j <= i));
                },
                {.cover = false, .hull = false}, head);
        }
}

/// Keys and values of global rows may lie in pages.
TEST(LocalGlobal, ReadsPagesForGlobalRows) {
    SparseCase c = sparse_case(mechanism, {4, 2, 67, 67, 16, 24}, 2);
    const Naive want = naive(c);
    const PagedPool<float> pool({{c.view("k_global"), c.view("v_global")}}, 8, PageLayout::token_head);
    c.caches.insert_or_assign("k_global", pool.view());
    on_every_isa([&](Context& context) {
        Output got = output_of(c);
        call(c, got, context);
        EXPECT_TRUE(close(got, want));
    });
}

TEST(LocalGlobal, NeedsNoLse) {
    const SparseCase c = sparse_case(mechanism, {4, 2, 21, 21, 16, 16}, 2);
    Output want = output_of(c), got = output_of(c);
    Context context;
    call(c, want, context);
    mechanism.call(c, got.o.view(), nullptr, nullptr, context);
    EXPECT_TRUE(std::isnan(got.lse[0]));
    got.lse = want.lse;
    EXPECT_TRUE(same_bits(want, got));
}

TEST(LocalGlobalErrors, OptionsAndGlobalTokens) {
    SparseCase c = sparse_case(mechanism, {4, 2, 21, 21, 16, 16}, 2);
    Output out = output_of(c);
    const auto refused = [&](auto&& spoil, std::initializer_list<std::string_view> words) {
        LocalGlobalInputs x = inputs_of<LocalGlobalInputs>(c);
        LocalGlobalOptions o = options(c);
        attenta::SparseOutputs to{out.o.view(), out.lse.data()};
        spoil(x, o, to);
        const auto result = refuses([&] { attenta::local_global(x, to, o); }, words);
        EXPECT_TRUE(std::isnan(out.lse[0]) && std::isnan(out.o.row(0, 0)[0]));
        return result;
    };
    EXPECT_TRUE(refused([](auto&, auto& o, auto&) { o.window = -1; }, {"local_global", "window is -1", "at least 0"}));
    EXPECT_TRUE(refused([](auto&, auto& o, auto&) { o.dilation = {0}; }, {"local_global", "dilation is 0", "1"}));
    EXPECT_TRUE(refused([](auto&, auto& o, auto&) { o.dilation = {1, 2, 1}; }, {"local_global", "dilation", "3", "4"}));
    EXPECT_TRUE(refused([](auto&, auto& o, auto&) { o.dilation = {}; }, {"local_global", "dilation", "0", "4"}));
    for (const std::int64_t wrong : {-1, 21}) {
        const std::vector<std::int64_t> global = {3, wrong, 5};
        EXPECT_TRUE(refused([&](auto& x, auto&, auto&) { x.global_index = global; },
                            {"local_global", "global_index has " + std::to_string(wrong), "0 to 20"}));
    }
    const std::vector<std::int64_t> twice = {3, 5, 3}, two = {3, 5};
    EXPECT_TRUE(refused([&](auto& x, auto&, auto&) { x.global_index = twice; },
                        {"local_global", "global_index has 3 twice", "once"}));
    EXPECT_TRUE(
        refused([&](auto& x, auto&, auto&) { x.global_index = two; }, {"local_global", "q_global has 3 tokens", "2"}));
    EXPECT_TRUE(refused([](auto& x, auto&, auto&) { x.q_global.dim = 15; }, {"local_global", "q_global", "15", "16"}));
    EXPECT_TRUE(
        refused([](auto& x, auto&, auto&) { x.kv_global.v.data = nullptr; }, {"local_global", "v_global is null"}));
    EXPECT_TRUE(
        refused([](auto& x, auto&, auto&) { x.kv_global.k.data = nullptr; }, {"local_global", "k_global is null"}));
    EXPECT_TRUE(
        refused([](auto& x, auto&, auto&) { x.kv_global.tokens = 20; }, {"local_global", "k_global", "20", "21"}));
    EXPECT_TRUE(refused([](auto& x, auto&, auto&) { x.kv_global.heads = 1; }, {"local_global", "k_global", "1", "2"}));
    EXPECT_TRUE(refused([](auto& x, auto&, auto&) { x.kv_global.sequences = 0; }, {"local_global", "kv_global"}));
    EXPECT_TRUE(
        refused([](auto& x, auto&, auto& to) { to.lse = static_cast<float*>(const_cast<void*>(x.kv_global.v.data)); },
                {"local_global", "lse overlaps v_global"}));
}

TEST(LocalGlobalErrors, NotANumber) {
    for (const char* name : {"q_global", "k_global", "v_global"}) {
        SparseCase c = sparse_case(mechanism, {4, 2, 21, 21, 16, 16}, 2);
        options(c).check_data = true;
        Output out = output_of(c);
        c.view(name).row(1, 2)[3] = std::numeric_limits<float>::quiet_NaN();
        Context context;
        EXPECT_TRUE(refuses([&] { call(c, out, context); }, {"local_global", name, "nan", "1", "2", "3"}));
    }
}

}  // namespace
}  // namespace attenta_test
