// Distances to the hull of the other keys equal their definition: a hull is what the simplices of its corners fill, and a point is as far
// from a simplex as from the nearest of the faces that it projects into. Hulls whose distances are known; own errors.
#include <attenta/analysis/selectable_keys.hpp>

#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::KeyNorm, analysis::SelectableKeysInputs, analysis::SelectableKeysOptions;
constexpr auto call = &analysis::selectable_keys;
using Row = std::vector<double>;
using Rows = std::vector<Row>;

double product(const Row& a, const Row& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }

Row difference(Row a, const Row& b) {
    for (std::size_t c = 0; c < a.size(); ++c) a[c] -= b[c];
    return a;
}

/// From 0 to where it projects into the simplex of these corners; infinite where that lies outside. The edges from the first corner are
/// made orthogonal one after another, so that weights come out by substitution from the last on.
double simplex_distance(const Rows& corners) {
    constexpr double infinite = std::numeric_limits<double>::infinity();
    Rows edges, directions;
    Row rest = corners[0], shares;
    for (std::size_t i = 1; i < corners.size(); ++i) {
        edges.push_back(difference(corners[i], corners[0]));
        Row direction = edges.back();
        for (int twice = 0; twice < 2; ++twice)
            for (const Row& d : directions) {
                const double share = product(direction, d) / product(d, d);
                for (std::size_t c = 0; c < d.size(); ++c) direction[c] -= share * d[c];
            }
        if (product(direction, direction) <= 1e-24 * product(edges.back(), edges.back())) return infinite;
        const double share = product(rest, direction) / product(direction, direction);
        for (std::size_t c = 0; c < rest.size(); ++c) rest[c] -= share * direction[c];
        shares.push_back(-share);
        directions.push_back(direction);
    }
    double left = 1;
    for (std::size_t i = edges.size(); i-- > 0;) {
        const double weight = shares[i];
        if (weight < 0) return infinite;
        left -= weight;
        for (std::size_t j = 0; j < i; ++j)
            shares[j] -= weight * product(edges[i], directions[j]) / product(directions[j], directions[j]);
    }
    return left < 0 ? infinite : std::sqrt(product(rest, rest));
}

/// Over all simplices of at most D + 1 of the points.
double nearest_simplex(const Rows& points, std::size_t first, Rows& corners) {
    double least = corners.empty() ? std::numeric_limits<double>::infinity() : simplex_distance(corners);
    if (corners.size() > points.front().size()) return least;
    for (std::size_t i = first; i < points.size(); ++i) {
        corners.push_back(points[i]);
        least = std::min(least, nearest_simplex(points, i + 1, corners));
        corners.pop_back();
    }
    return least;
}

Row normalized(Row key, KeyNorm norm) {
    const auto dim = static_cast<double>(key.size());
    if (norm == KeyNorm::project || norm == KeyNorm::layernorm) {
        const double mean = std::accumulate(key.begin(), key.end(), 0.0) / dim;
        for (double& e : key) e -= mean;
    }
    if (norm == KeyNorm::scale || norm == KeyNorm::layernorm) {
        const double length = std::sqrt(product(key, key));
        for (double& e : key) e *= std::sqrt(dim) / length;
    }
    return key;
}

Values with_distances(const Rows& of_heads, double margin) {
    Values want;
    for (const Row& head : of_heads) {
        double unselectable = 0;
        for (const double d : head) {
            const bool selectable = d < 0 || d > margin;
            unselectable += !selectable;
            want["distance"].push_back(d);
            want["selectable"].push_back(selectable);
        }
        want["unselectable_share"].push_back(unselectable / static_cast<double>(head.size()));
    }
    return want;
}

Values definition(const SelectableKeysInputs& x, const SelectableKeysOptions& o) {
    Rows distances;
    for (std::int64_t h = 0; h < x.k.heads; ++h) {
        Rows keys;
        for (std::int64_t t = 0; t < x.k.tokens; ++t)
            keys.push_back(normalized(Row(x.k.row(h, t), x.k.row(h, t) + x.k.dim), o.normalize));
        distances.emplace_back();
        for (std::size_t i = 0; i < keys.size(); ++i) {
            Rows others, corners;
            double farthest = 0;
            for (std::size_t j = 0; j < keys.size(); ++j) {
                if (j == i) continue;
                others.push_back(difference(keys[j], keys[i]));
                farthest = std::max(farthest, std::sqrt(product(others.back(), others.back())));
            }
            const double distance = others.empty() ? -1 : nearest_simplex(others, 0, corners);
            distances.back().push_back(std::abs(distance) <= 1e-6 * farthest ? 0 : distance);
        }
    }
    return with_distances(distances, o.margin);
}

View keys_of(Memory& memory, const Rows& rows) {
    std::vector<float> all;
    for (const Row& r : rows)
        for (const double e : r) all.push_back(static_cast<float>(e));
    return attenta::hnd<const float>(memory.vector(std::move(all)).data(), 1, std::ssize(rows), std::ssize(rows[0]));
}

TEST(SelectableKeys, EqualsItsDefinition) {
    Memory memory;
    for (const auto& [heads, tokens, dim] : {std::array<std::int64_t, 3>{1, 1, 1},
                                             {2, 1, 3},
                                             {3, 2, 2},
                                             {2, 7, 1},
                                             {2, 17, 2},
                                             {2, 12, 3},
                                             {1, 10, 4},
                                             {2, 5, 9}})
        for (const SelectableKeysOptions& o : {SelectableKeysOptions{KeyNorm::none, 0.3},
                                               {KeyNorm::none, 1e-6},
                                               {KeyNorm::project, 1e-6},
                                               {KeyNorm::scale, 0.3},
                                               {KeyNorm::layernorm, 1e-6}}) {
            if (dim == 1 && o.normalize == KeyNorm::layernorm) continue;  // every key is constant
            const SelectableKeysInputs x{memory.heads(heads, tokens, dim)};
            expect_values<call>(x, o, definition(x, o));
        }
}

/// Keys of few integers: many are the same, in line, or as far from a hull as others.
TEST(SelectableKeys, EqualsItsDefinitionOfAGrid) {
    Memory memory;
    for (const auto& [tokens, dim, last] : {std::array<std::int64_t, 3>{17, 2, 3}, {16, 2, 1}, {12, 3, 2}, {10, 4, 1}})
        for (int time = 0; time < 4; ++time) {
            Rows keys;
            for (std::int64_t t = 0; t < tokens; ++t)
                for (std::int64_t c = 0; c < dim; ++c) {
                    if (c == 0) keys.emplace_back();
                    keys.back().push_back(static_cast<double>(memory.random.integer(0, last)));
                }
            const SelectableKeysInputs x{keys_of(memory, keys)};
            expect_values<call>(x, {}, definition(x, {}));
        }
}

/// Also of a cloud that is far from 0, and of numbers whose squares are no floats.
TEST(SelectableKeys, EqualsItsDefinitionOfAnySize) {
    Memory memory;
    for (const float size : {1e-25f, 1.f, 1e25f}) {
        const View k = memory.heads(1, 17, 2);
        for (std::int64_t t = 0; t < 17; ++t)
            for (std::int64_t c = 0; c < 2; ++c) const_cast<float&>(k.row(0, t)[c]) = size * (100 + k.row(0, t)[c]);
        const SelectableKeysOptions o{KeyNorm::none, 0};
        expect_values<call>({k}, o, definition({k}, o), {.absolute = 0, .relative = 1e-4});
    }
}

/// Corners ±e_c: each is 1 away from 0, which is the nearest that others reach. Then some within them, and one above them all.
TEST(SelectableKeys, KnowsACrossPolytope) {
    Memory memory;
    constexpr std::size_t dim = 24, inside = 30;
    Rows keys;
    for (std::size_t c = 0; c < dim; ++c)
        for (const double sign : {1.0, -1.0}) keys.emplace_back(dim + 1)[c] = sign;
    const SelectableKeysInputs corners{keys_of(memory, keys)};
    expect_values<call>(corners, {}, with_distances({Row(2 * dim, 1)}, 1e-6));

    for (std::size_t i = 0; i < inside; ++i) {
        Row& key = keys.emplace_back(dim + 1);
        double sum = 0;
        for (std::size_t c = 0; c < dim; ++c) sum += std::abs(key[c] = double{memory.random.normal()});
        for (std::size_t c = 0; c < dim; ++c) key[c] /= 2 * sum;
    }
    keys.emplace_back(dim + 1)[dim] = 3;
    const SelectableKeysInputs all{keys_of(memory, keys)};
    Outputs<call> out(all, {});
    analysis::selectable_keys(all, out.list);
    const Values got = out.values();
    EXPECT_EQ(Row(got.at("distance").begin() + 2 * dim, got.at("distance").end() - 1), Row(inside, 0));
    EXPECT_NEAR(got.at("distance").back(), 3, 1e-5);
    Row selectable(2 * dim + inside + 1, 1);
    std::fill_n(selectable.begin() + 2 * dim, inside, 0);
    EXPECT_EQ(got.at("selectable"), selectable);
    EXPECT_NEAR(got.at("unselectable_share")[0], static_cast<double>(inside) / (2 * dim + inside + 1), 1e-6);
}

TEST(SelectableKeys, OfDistinctKeysOnASphereAreAll) {
    Memory memory;
    const SelectableKeysInputs x{memory.heads(2, 90, 16)};
    for (const KeyNorm norm : {KeyNorm::scale, KeyNorm::layernorm}) {
        Outputs<call> out(x, {norm});
        analysis::selectable_keys(x, out.list, {norm});
        EXPECT_EQ(out.values().at("selectable"), Row(180, 1));
    }
}

TEST(SelectableKeys, OfDuplicatesAreNone) {
    Memory memory;
    const SelectableKeysInputs twice{keys_of(memory, {{1, 2}, {4, 6}, {1, 2}})};
    expect_values<call>(twice, {}, with_distances({{0, 5, 0}}, 1e-6));
    auto equal = memory.heads(2, 5, 3);
    equal.token_stride = 0;
    for (const KeyNorm norm : {KeyNorm::none, KeyNorm::layernorm})
        expect_values<call>({equal}, {norm}, with_distances(Rows(2, Row(5, 0)), 1e-6));
}

TEST(SelectableKeysErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const SelectableKeysInputs x{memory.heads(2, 5, 3)};
    expect_bad_tensors_refused<call>(x, {});
    for (const double margin : {-1e-3, std::nan(""), std::numeric_limits<double>::infinity()})
        EXPECT_TRUE(refuses_options<call>(x, {}, [=](auto& o) { o.margin = margin; }, {"selectable_keys", "margin"}));
    const auto refused = [&](const Row& key, KeyNorm norm, std::initializer_list<std::string_view> words) {
        Rows rows = {{1, 2, 3}, {3, 2, 5}};
        rows.push_back(key);
        const SelectableKeysInputs wrong{keys_of(memory, rows)};
        return refuses_to_write<call>(wrong, {norm}, wrong, {norm}, words);
    };
    EXPECT_TRUE(refused({0, 0, 0}, KeyNorm::scale, {"selectable_keys", "k", "0 in token 2 of head 0"}));
    EXPECT_TRUE(refused({0, 0, 0}, KeyNorm::layernorm, {"k", "constant in token 2 of head 0"}));
    EXPECT_TRUE(refused({0.1, 0.1, 0.1}, KeyNorm::layernorm, {"k", "constant in token 2 of head 0"}));
    EXPECT_TRUE(refused({1, std::nan(""), 0}, KeyNorm::none, {"k", "nan", "finite"}));
    EXPECT_TRUE(refused({1, 1e39, 0}, KeyNorm::none, {"k", "inf", "finite"}));
    SelectableKeysInputs one_channel{memory.heads(1, 2, 1)};
    EXPECT_TRUE(refuses_to_write<call>(one_channel, {}, one_channel, {KeyNorm::layernorm}, {"k", "constant"}));
    SelectableKeysInputs endless = x;
    endless.k.tokens = std::int64_t{1} << 60;
    endless.k.token_stride = 0;
    EXPECT_TRUE(refuses_to_write<call>(x, {}, endless, {}, {"k"}));
}

}  // namespace
}  // namespace attenta_test
