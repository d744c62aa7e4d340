// Head distances equal their definition: offsets beyond the tokens, classes, grids of any shape; their own errors.
#include <attenta/analysis/head_distance.hpp>

#include "analysis/support/layers.hpp"

namespace attenta_test {
namespace {

using analysis::HeadDistanceInputs, analysis::HeadDistanceOptions;
constexpr auto call = &analysis::head_distance;

/// Σ_ij a_ij f(i, j)
template <class F>
double sum_of(const Square& a, F&& f) {
    double sum = 0;
    for (std::int64_t i = 0; i < a.size(); ++i)
        for (std::int64_t j = 0; j < a.size(); ++j) sum += a(i, j) * static_cast<double>(f(i, j));
    return sum;
}

void define_grid(const Square& a, const HeadDistanceOptions& o, std::size_t head, std::size_t heads, Values& want) {
    const auto [rows, cols] = *o.grid;
    const std::int64_t patches = rows * cols, hops = std::max(rows, cols);
    std::vector<double> sums(static_cast<std::size_t>(hops)), pairs(sums.size());
    double distance = 0;
    for (std::int64_t p = 0; p < patches; ++p)
        for (std::int64_t q = 0; q < patches; ++q) {
            const std::int64_t dy = std::abs(p / cols - q / cols), dx = std::abs(p % cols - q % cols);
            const double weight = a(o.grid_start + p, o.grid_start + q);
            distance += weight * std::hypot(static_cast<double>(dy), static_cast<double>(dx));
            sums[static_cast<std::size_t>(std::max(dy, dx))] += weight;
            pairs[static_cast<std::size_t>(std::max(dy, dx))] += 1;
        }
    want["grid_distance"].push_back(distance / static_cast<double>(patches));
    want["hop_strength"].resize(sums.size() * heads);
    for (std::size_t r = 0; r < sums.size(); ++r) want["hop_strength"][r * heads + head] = sums[r] / pairs[r];
}

Values definition(const HeadDistanceInputs& x, const HeadDistanceOptions& o) {
    const std::int64_t n = x.attn.size(2);
    const auto heads = static_cast<std::size_t>(x.attn.count(0, 2)), tokens = static_cast<std::size_t>(n);
    const auto all = static_cast<double>(n);
    Values want;
    want["offset_mass"].resize(o.offsets.size() * heads);
    for (std::size_t h = 0; h < heads; ++h) {
        const Square a = head_of(x.attn, 0, static_cast<std::int64_t>(h));
        const auto gap = [](std::int64_t i, std::int64_t j) { return std::abs(i - j); };
        want["distance"].push_back(sum_of(a, gap) / all);
        want["local_mass"].push_back(sum_of(a, [&](auto i, auto j) { return gap(i, j) <= o.window; }) / all);
        for (std::size_t k = 0; k < o.offsets.size(); ++k)
            want["offset_mass"][k * heads + h] = sum_of(a, [&](auto i, auto j) { return j - i == o.offsets[k]; }) / all;
        double entropy = 0;
        for (const double e : a.numbers()) {
            const double b = (1 - o.smoothing) * e + o.smoothing / all;
            entropy -= b > 0 ? b * std::log(b) / all : 0;
        }
        want["entropy"].push_back(entropy);
        const auto classes = static_cast<std::size_t>(x.classes ? x.classes.size(0) : 0);
        for (std::size_t c = 0; c < classes; ++c) {
            const std::span<const std::int64_t> member(x.classes.data + c * tokens, tokens);
            const auto is = [&](std::int64_t t) { return member[static_cast<std::size_t>(t)] != 0; };
            const auto members =
                static_cast<double>(std::count_if(member.begin(), member.end(), [](auto m) { return m != 0; }));
            for (const char* name : {"class_mass", "class_from_members", "class_from_others"})
                want[name].resize(classes * heads);
            want["class_mass"][c * heads + h] = sum_of(a, [&](auto, auto j) { return is(j); }) / all;
            want["class_from_members"][c * heads + h] =
                sum_of(a, [&](auto i, auto j) { return is(i) && is(j); }) / std::max(members, 1.0);
            want["class_from_others"][c * heads + h] =
                sum_of(a, [&](auto i, auto j) { return !is(i) && is(j); }) / std::max(all - members, 1.0);
        }
        if (o.grid) define_grid(a, o, h, heads, want);
    }
    return want;
}

TEST(HeadDistance, EqualsItsDefinition) {
    Memory memory;
    struct Grid {
        std::int64_t tokens, rows, cols, start;
    };
    for (const Grid& g :
         {Grid{1, 1, 1, 0}, {21, 4, 5, 1}, {21, 5, 4, 0}, {33, 1, 30, 2}, {33, 20, 1, 3}, {50, 7, 7, 0}})
        for (const bool more : {false, true})
            for (const double smoothing : {0.0, 1e-4, 0.3}) {
                HeadDistanceInputs x{memory.weights<4>({1, 3, g.tokens, g.tokens}, more, 4)};
                HeadDistanceOptions o{.window = more ? 3 : std::int64_t{1} << 62,
                                      .offsets = {0, -1, 2, g.tokens, -g.tokens, std::int64_t{-1} << 62},
                                      .smoothing = smoothing,
                                      .grid = {},
                                      .grid_start = 0};
                if (more) {
                    std::vector<std::int64_t> classes;
                    for (std::int64_t i = 0; i < 2 * g.tokens; ++i) classes.push_back(i >= g.tokens && i % 3 == 0);
                    x.classes = {memory.indices(classes).data(), {2, g.tokens}};
                    o.grid = {g.rows, g.cols};
                    o.grid_start = g.start;
                }
                expect_values<call>(x, o, definition(x, o));
            }
}

TEST(HeadDistanceErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const HeadDistanceInputs x{memory.weights<4>({2, 3, 7, 7})};
    expect_bad_tensors_refused<call>(x, {});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(x, {}, change, words);
    };
    EXPECT_TRUE(refused([](auto& o) { o.window = -1; }, {"head_distance", "window"}));
    EXPECT_TRUE(refused([](auto& o) { o.smoothing = 1.1; }, {"smoothing"}));
    EXPECT_TRUE(refused([](auto& o) { o.grid = {2, 4}; }, {"grid", "4", "3"}));
    EXPECT_TRUE(refused([](auto& o) { o.grid = {0, 4}; }, {"grid", "0", "1"}));
    EXPECT_TRUE(refused([](auto& o) { o.grid = {std::int64_t{1} << 62, 4}; }, {"grid", "7"}));
    EXPECT_TRUE(refused([](auto& o) { o.grid = {2, 3}, o.grid_start = 2; }, {"grid_start", "2", "1"}));
    float mass[6];
    EXPECT_TRUE(refuses([&] { analysis::head_distance(x, {.class_mass = mass}); }, {"class_mass"}));
    EXPECT_TRUE(refuses([&] { analysis::head_distance(x, {.grid_distance = mass}); }, {"grid_distance"}));
}

}  // namespace
}  // namespace attenta_test
