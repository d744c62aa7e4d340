// Orders of documents equal their definition, with equal scores among them; their own errors.
#include <attenta/analysis/document_order.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::DocumentOrder, analysis::DocumentOrderInputs, analysis::DocumentOrderOptions;
constexpr auto call = &analysis::document_order;

/// Places of the numbers, the largest first, the lower place first of equal ones.
template <class Numbers>
std::vector<std::size_t> from_the_largest(const Numbers& x) {
    std::vector<std::size_t> order(x.size());
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return x[a] > x[b]; });
    return order;
}

Values definition(const DocumentOrderInputs& x, const DocumentOrderOptions& o) {
    std::vector<double> score, order;
    if (o.method == DocumentOrder::sort) {
        const std::int64_t rows = x.attn.size(0) * x.attn.size(1), keys = x.attn.size(2);
        for (std::size_t d = 0; d < x.doc_start.size(); ++d) {
            double sum = 0;
            for (std::int64_t r = 0; r < rows; ++r)
                for (std::int64_t j = x.doc_start[d]; j < x.doc_end[d]; ++j) sum += double{x.attn.data[r * keys + j]};
            score.push_back(sum / static_cast<double>(rows));
        }
        for (const std::size_t d : from_the_largest(score)) order.push_back(static_cast<double>(d));
        if (o.best_last) std::reverse(order.begin(), order.end());
    } else {
        const auto& a = x.position_attn;
        std::vector<std::int64_t> layers(static_cast<std::size_t>(a.size(1)));
        std::iota(layers.begin(), layers.end(), 0);
        if (o.layers) layers = *o.layers;
        for (std::int64_t p = 0; p < a.size(3); ++p) {
            double mean = 0;
            for (std::int64_t n = 0; n < a.size(0); ++n)
                for (const std::int64_t l : layers)
                    for (std::int64_t h = 0; h < a.size(2); ++h)
                        mean += double{a.data[((n * a.size(1) + l) * a.size(2) + h) * a.size(3) + p]} /
                                static_cast<double>(a.size(0) * std::ssize(layers) * a.size(2));
            score.push_back(mean);
        }
        order.resize(score.size());
        const auto places = from_the_largest(score), documents = from_the_largest(x.relevance);
        for (std::size_t n = 0; n < score.size(); ++n) order[places[n]] = static_cast<double>(documents[n]);
    }
    return {{"score", score}, {"order", order}};
}

/// Documents of 1 to `longest` tokens, listed from the last one, with a token between some of them.
DocumentOrderInputs prompt(Memory& memory, std::int64_t layers, std::int64_t heads, std::int64_t documents,
                           std::int64_t longest) {
    std::vector<std::int64_t> start, end;
    std::int64_t at = 0;
    for (std::int64_t d = 0; d < documents; ++d) {
        at += d % 2;
        start.insert(start.begin(), at);
        at += memory.random.integer(1, longest);
        end.insert(end.begin(), at);
    }
    DocumentOrderInputs x;
    x.attn = memory.weights<3>({layers, heads, at + documents % 3});
    x.doc_start = memory.indices(start);
    x.doc_end = memory.indices(end);
    return x;
}

DocumentOrderInputs probes(Memory& memory, std::int64_t n, std::int64_t layers, std::int64_t heads,
                           std::int64_t documents) {
    DocumentOrderInputs x;
    x.position_attn = memory.weights<4>({n, layers, heads, documents});
    x.relevance = memory.vector(memory.random.normals(documents));
    return x;
}

TEST(DocumentOrder, EqualsItsDefinition) {
    Memory memory;
    for (const auto& [layers, heads, documents, longest] :
         {std::array<std::int64_t, 4>{1, 1, 1, 1}, {3, 4, 5, 12}, {2, 9, 31, 40}, {5, 1, 3, 700}})
        for (const bool best_last : {true, false}) {
            const auto x = prompt(memory, layers, heads, documents, longest);
            const DocumentOrderOptions o{DocumentOrder::sort, best_last};
            expect_values<call>(x, o, definition(x, o));
        }
    for (const auto& [n, layers, heads, documents] :
         {std::array<std::int64_t, 4>{1, 1, 1, 1}, {6, 4, 3, 7}, {2, 3, 5, 40}}) {
        const auto x = probes(memory, n, layers, heads, documents);
        DocumentOrderOptions o{DocumentOrder::rank};
        expect_values<call>(x, o, definition(x, o));
        o.layers = {{layers - 1}};
        expect_values<call>(x, o, definition(x, o));
        if (layers < 2) continue;
        o.layers = {{layers - 1, 0}};
        expect_values<call>(x, o, definition(x, o));
    }
}

TEST(DocumentOrder, LowerOnesComeFirstOfEqualScores) {
    Memory memory;
    DocumentOrderInputs x;
    const std::vector<float> weights = {0.125f, 0.25f, 0.125f, 0.25f, 0.125f, 0.125f};
    x.attn = {memory.vector(weights).data(), {1, 1, 6}};
    x.doc_start = memory.indices({0, 1, 2, 3, 4});
    x.doc_end = memory.indices({1, 2, 3, 4, 5});
    expect_values<call>(x, {DocumentOrder::sort, false},
                        {{"score", {0.125, 0.25, 0.125, 0.25, 0.125}}, {"order", {1, 3, 0, 2, 4}}});
    expect_values<call>(x, {DocumentOrder::sort, true},
                        {{"score", {0.125, 0.25, 0.125, 0.25, 0.125}}, {"order", {4, 2, 0, 3, 1}}});
}

/// Sums over heads and over tokens anywhere in the row must round alike.
TEST(DocumentOrder, EqualWeightsAreEqualScoresWhereverADocumentLies) {
    Memory memory;
    DocumentOrderInputs x;
    x.attn = {memory.vector(std::vector<float>(3 * 7 * 61, 1.f / 61)).data(), {3, 7, 61}};
    x.doc_start = memory.indices({2, 13, 24, 50, 37});
    x.doc_end = memory.indices({13, 24, 35, 61, 48});
    const std::vector<double> score(5, double{1.f / 61} * 11);
    expect_values<call>(x, {DocumentOrder::sort, false}, {{"score", score}, {"order", {0, 1, 2, 3, 4}}});
    DocumentOrderInputs flat;
    flat.position_attn = {x.attn.data, {3, 1, 7, 61}};
    flat.relevance = memory.vector(std::vector<float>(61, 0.5f));
    std::vector<double> places(61);
    std::iota(places.begin(), places.end(), 0.0);
    expect_values<call>(flat, {DocumentOrder::rank}, {{"score", std::vector<double>(61, 1.0 / 61)}, {"order", places}});
}

TEST(DocumentOrderErrors, SaysWhatDoesNotFit) {
    Memory memory;
    DocumentOrderInputs x = prompt(memory, 2, 3, 4, 5);
    const std::int64_t keys = x.attn.size(2);
    const DocumentOrderOptions sort;
    expect_bad_tensors_refused<call>(x, sort);
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_inputs<call>(x, sort, change, words);
    };
    const auto with = [&](std::span<const std::int64_t> list, std::size_t i, std::int64_t value) {
        std::vector<std::int64_t> changed(list.begin(), list.end());
        changed[i] = value;
        return memory.indices(changed);
    };
    EXPECT_TRUE(refused([](auto& in) { in.attn = {}; }, {"document_order", "attn", "sort"}));
    EXPECT_TRUE(refused([](auto& in) { in.doc_start = {}; }, {"doc_start", "sort"}));
    EXPECT_TRUE(refused([](auto& in) { in.doc_end = {}; }, {"doc_end", "sort"}));
    EXPECT_TRUE(refused([&](auto& in) { in.doc_start = with(x.doc_start, 3, -1); }, {"document", "3", "1"}));
    EXPECT_TRUE(refused([&](auto& in) { in.doc_end = with(x.doc_end, 0, keys + 1); }, {"document", "0"}));
    EXPECT_TRUE(refused([&](auto& in) { in.doc_end = with(x.doc_end, 1, x.doc_start[1]); }, {"document", "1"}));
    EXPECT_TRUE(refused([&](auto& in) { in.doc_end = with(x.doc_end, 1, x.doc_start[0] + 1); },
                        {"document", "0", "1", "behind"}));
    EXPECT_TRUE(refused([](auto& in) { in.doc_end = in.doc_end.first(3); }, {"doc_end", "3", "4"}));
    EXPECT_TRUE(refuses_options<call>(x, sort, [](auto& o) { o.layers = {{0}}; }, {"layers", "rank"}));
    const_cast<float&>(x.attn.data[5]) = std::nanf("");
    EXPECT_TRUE(refused([](auto&) {}, {"attn", "5", "finite"}));
}

TEST(DocumentOrderErrors, SaysWhatDoesNotFitOfPositions) {
    Memory memory;
    DocumentOrderInputs x = probes(memory, 2, 3, 2, 5);
    const DocumentOrderOptions rank{DocumentOrder::rank};
    expect_bad_tensors_refused<call>(x, rank);
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_inputs<call>(x, rank, change, words);
    };
    EXPECT_TRUE(refused([](auto& in) { in.position_attn = {}; }, {"position_attn", "rank"}));
    EXPECT_TRUE(refused([](auto& in) { in.relevance = {}; }, {"relevance", "rank"}));
    EXPECT_TRUE(refused([](auto& in) { in.relevance = in.relevance.first(4); }, {"relevance", "4", "5"}));
    const auto layers = [&](std::vector<std::int64_t> list, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(
            x, rank, [&](auto& o) { o.layers = list; }, words);
    };
    EXPECT_TRUE(layers({}, {"layers", "empty"}));
    EXPECT_TRUE(layers({3}, {"layers", "3", "2"}));
    EXPECT_TRUE(layers({1, 0, 1}, {"layers", "1", "twice"}));
    const_cast<float&>(x.relevance[2]) = std::nanf("");
    EXPECT_TRUE(refused([](auto&) {}, {"relevance", "2", "finite"}));
}

}  // namespace
}  // namespace attenta_test
