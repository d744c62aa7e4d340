// README's table of what combines: its columns are ways to call, its rows options. Whatever is not refused is set in pairs
// and all at once, on pages of bfloat16, and compared with the definition; what is refused leaves the output alone.
#include <attenta/attenta.hpp>
#include <attenta/variants.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"
#include "support/softmax_case.hpp"

namespace {

using namespace attenta_test;
using attenta::Context, attenta::KeyLists, attenta::KvView, attenta::SoftmaxOptions;

// --- the table -------------------------------------------------------------------------------------------------------

using Row = std::vector<std::string>;

Row cells_of(const std::string& line) {
    Row cells;
    std::istringstream in(line.substr(1));
    for (std::string cell; std::getline(in, cell, '|');) {
        const std::size_t first = cell.find_first_not_of(' '), last = cell.find_last_not_of(' ');
        cells.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
    }
    return cells;
}

/// The first row has the names of the columns.
std::vector<Row> table() {
    std::ifstream file(ATTENTA_README);
    std::vector<Row> rows;
    for (std::string line; std::getline(file, line);) {
        const bool begins = line.starts_with("| | one sequence |");
        if (!begins && rows.empty()) continue;
        if (!line.starts_with("|")) break;
        if (!line.starts_with("|-")) rows.push_back(cells_of(line));
    }
    return rows;
}

// --- options, each of which a row sets -------------------------------------------------------------------------------

/// What is added to scores goes by positions, so that it means the same in every sequence of a batch.
void set_edit(Case& c) {
    c.options.edits = attenta::ScoreEdits{attenta::edit([](attenta::ScoreTile& t) {
        for (std::int64_t r = 0; r < t.rows; ++r)
            for (std::int64_t i = 0; i < t.keys.count; ++i)
                t.s[r * t.stride + i] += 0.25f * static_cast<float>((t.row[r].head + t.keys.position(i)) % 3);
    })};
    c.extras.edited = [](double s, const Pair& p) { return s + 0.25 * static_cast<double>((p.head + p.j) % 3); };
}

const std::map<std::string, std::function<void(Case&)>>& setters() {
    static const std::map<std::string, std::function<void(Case&)>> all = {
        {"`causal`, `prefix`", [](Case& c) { c.options.causal = true, c.options.prefix = 3; }},
        {"`window_left`, `window_right`", [](Case& c) { c.options.window_left = 41, c.options.window_right = 30; }},
        {"`q_offset`", [](Case& c) { c.options.q_offset = c.shape.Tk - c.shape.Tq - 2; }},
        {"`visible`",
         [](Case& c) {
             c.options.visible = attenta::Window{29, -1} || attenta::Global{4};
             c.extras.visible = [](const Pair& p) { return p.j >= p.i - 29 || p.j < 4; };
         }},
        {"`segment_q`, `segment_k`", [](Case& c) { set_segments(c); }},
        {"`mask`", [](Case& c) { set_mask(c, c.shape.Hq, 0.6, 7); }},
        {"`bias`", [](Case& c) { set_bias(c, c.shape.Hq, 0.2); }},
        {"`softcap`", [](Case& c) { c.options.softcap = 2.5f; }},
        {"`alibi_slopes`",
         [](Case& c) { c.options.alibi_slopes = c.slopes = attenta::alibi_slopes(static_cast<int>(c.shape.Hq)); }},
        {"`sink`",
         [](Case& c) {
             c.sink.assign(static_cast<std::size_t>(c.shape.Hq), 0.5f);  // the same in every sequence of a batch
             c.options.sink = c.sink;
         }},
        {"`edits`", set_edit},
    };
    return all;
}

/// K and V are numbers that bfloat16 holds.
Case case_with(const std::vector<std::string>& options, std::int64_t queries, std::int64_t keys, std::uint64_t seed) {
    Case c({4, 2, queries, keys, 20, 12}, seed);
    for (Tensor<float>* x : {&c.k, &c.v})
        x->each_row([&](float* row, std::int64_t, std::int64_t) {
            for (std::int64_t i = 0; i < x->view().dim; ++i) row[i] = static_cast<float>(attenta::bfloat16(row[i]));
        });
    for (const std::string& name : options) setters().at(name)(c), c.words += ", " + name;
    return c;
}

PagedPool<attenta::bfloat16> pages_of(const std::vector<Sequence>& sequences) {
    return {sequences, 16, PageLayout::token_head};
}

// --- ways to call: attends and compares, or lets the Error pass ------------------------------------------------------

void expect_untouched(const Output& out) {
    const float fresh = untouched<float>();
    out.o.each_row([&](float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(same_bits(row, &fresh, 1)); });
}

/// A call on `out` that may throw before it has written.
void attend_or_leave(const Output& out, const std::function<void()>& call) {
    try {
        call();
    } catch (const attenta::Error&) {
        expect_untouched(out);
        throw;
    }
}

void one_sequence(const std::vector<std::string>& options, Context& context) {
    for (const auto& [queries, keys] : {std::pair{37, 90}, {1, 130}}) {
        const Case c = case_with(options, queries, keys, 3);
        const auto pool = pages_of({{c.k.view(), c.v.view()}});
        Output out(4, queries, 12);
        attend_or_leave(out, [&] {
            attenta::softmax_attention(c.q.view(), pool.view(), out.o.view(), c.options, out.lse.data(), context);
        });
        EXPECT_TRUE(close(out, naive(c))) << describe(c);
    }
}

/// A prompt, a chunk and a step; options of one sequence are given for each.
void ragged_batch(const std::vector<std::string>& options, Context& context) {
    std::array<Case, 3> cases{case_with(options, 33, 33, 5), case_with(options, 5, 70, 6),
                              case_with(options, 1, 101, 7)};
    SoftmaxOptions x = cases[0].options;
    std::vector<std::int64_t> offsets;
    std::vector<attenta::Documents> segments;
    std::vector<attenta::Matrices<const bool>> masks;
    std::vector<attenta::FloatMatrices> biases;
    std::vector<Sequence> sequences;
    for (const Case& c : cases) {
        if (c.options.q_offset) offsets.push_back(*c.options.q_offset);
        if (!c.segment_q.empty()) segments.push_back({c.segment_q, c.segment_k});
        if (c.mask) masks.push_back(c.options.mask);
        if (!c.bias.empty()) biases.push_back(c.options.bias);
        sequences.push_back({c.k.view(), c.v.view()});
    }
    x.q_offset.reset(), x.segment_q = x.segment_k = {}, x.mask = {}, x.bias = {};
    x.q_offsets = offsets, x.segments = segments, x.masks = masks, x.biases = biases;
    const std::vector<std::int32_t> lengths = {33, 5, 1};
    Tensor<float> q(4, 39, 20);
    q.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        const Case& c = cases[t < 33 ? 0 : t < 38 ? 1 : 2];
        std::copy_n(c.q.row(h, t < 33 ? t : t < 38 ? t - 33 : 0), 20, row);
    });
    const auto pool = pages_of(sequences);
    Output out(4, 39, 12);
    attenta::softmax_attention(q.view(), lengths, pool.view(), out.o.view(), x, out.lse.data(), context);
    std::int64_t first = 0;
    for (const Case& c : cases) {
        Output part(4, c.shape.Tq, 12);
        part.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
            std::copy_n(out.o.row(h, first + t), 12, row);
            part.lse[static_cast<std::size_t>(h * c.shape.Tq + t)] = out.lse_at(h, first + t);
        });
        EXPECT_TRUE(close(part, naive(c))) << describe(c);
        first += c.shape.Tq;
    }
}

/// Every query reads the keys whose number is no multiple of 5.
void key_lists(const std::vector<std::string>& options, Context& context) {
    Case c = case_with(options, 37, 90, 11);
    KeyLists lists({.heads = 1, .queries = 37, .keys = 90});
    for (int t = 0; t < 37; ++t) {
        for (int j = 0; j < 90; j += 5) lists.add(j + 1, 4);
        lists.end_list();
    }
    c.options.lists = {&lists, 1};
    c.extras.visible = [also = c.extras.visible](const Pair& p) { return p.key % 5 != 0 && (!also || also(p)); };
    const auto pool = pages_of({{c.k.view(), c.v.view()}});
    Output out(4, 37, 12);
    attend_or_leave(out, [&] {
        attenta::softmax_attention(c.q.view(), pool.view(), out.o.view(), c.options, out.lse.data(), context);
    });
    EXPECT_TRUE(close(out, naive(c))) << describe(c);
}

attenta::Heads<const float> tokens_of(const Tensor<float>& x, std::int64_t begin, std::int64_t count) {
    attenta::Heads<const float> part = x.view();
    part.data = x.row(0, begin), part.tokens = count;
    return part;
}

/// The first tokens on pages of bfloat16, the newest in float.
void several_caches(const std::vector<std::string>& options, Context& context) {
    const Case c = case_with(options, 37, 90, 13);
    const auto pool = pages_of({{tokens_of(c.k, 0, 64), tokens_of(c.v, 0, 64)}});
    std::vector<std::int32_t> positions;
    for (std::int32_t j = 64; j < 90; ++j) positions.push_back(j);
    KvView newest = KvView::of(tokens_of(c.k, 64, 26), tokens_of(c.v, 64, 26));
    newest.positions = positions.data(), newest.positions_stride = 26;
    const std::array<KvView, 2> views{pool.view(), newest};
    Output out(4, 37, 12);
    attend_or_leave(
        out, [&] { attenta::softmax_attention(c.q.view(), views, out.o.view(), c.options, out.lse.data(), context); });
    EXPECT_TRUE(close(out, naive(c))) << describe(c);
}

void sigmoid(const std::vector<std::string>& options, Context& context) {
    const Case c = case_with(options, 37, 90, 17);
    attenta::SigmoidOptions x{.bias = -1.5f};
    attenta::VisibleKeys& seen = x.visibility;
    seen.causal = c.options.causal, seen.prefix = c.options.prefix;
    seen.window_left = c.options.window_left, seen.window_right = c.options.window_right;
    seen.q_offset = c.options.q_offset, seen.visible = c.options.visible, seen.mask = c.options.mask;
    seen.segment_q = c.options.segment_q, seen.segment_k = c.options.segment_k;
    const auto pool = pages_of({{c.k.view(), c.v.view()}});
    Output out(4, 37, 12);
    attenta::sigmoid({c.q.view(), pool.view()}, {out.o.view()}, x, context);
    Naive want{4, 37, 12, std::vector<double>(4 * 37 * 12), {}};
    for (std::int64_t h = 0; h < 4; ++h)
        for (std::int64_t t = 0; t < 37; ++t)
            for (std::int64_t j = 0; j < 90; ++j) {
                const Pair p{h, t, j, t + c.options.q_offset.value_or(90 - 37), j};
                if (!naive_visible(p, c.options, c.extras)) continue;
                const double s = naive_score(p, c.q.row(h, t), c.k.row(h / 2, j), 20, c.options, c.extras);
                for (std::int64_t i = 0; i < 12; ++i)
                    want.o_row(h, t)[i] += double{c.v.row(h / 2, j)[i]} / (1 + std::exp(1.5 - s));
            }
    EXPECT_TRUE(close(out, want)) << describe(c);
}

const std::map<std::string, void (*)(const std::vector<std::string>&, Context&)> ways = {
    {"one sequence", one_sequence},     {"ragged batch", ragged_batch}, {"key lists", key_lists},
    {"several caches", several_caches}, {"`sigmoid`", sigmoid},
};

TEST(Combining, TheTableHasAllOptionsAndWays) {
    const std::vector<Row> rows = table();
    ASSERT_EQ(rows.size(), setters().size() + 1);
    ASSERT_EQ(rows[0].size(), ways.size() + 1);
    for (const Row& row : rows) ASSERT_EQ(row.size(), rows[0].size()) << row[0];
}

TEST(Combining, WhatTheTableSays) {
    const std::vector<Row> rows = table();
    on_every_isa([&](Context& context) {
        for (std::size_t column = 1; column < rows[0].size(); ++column) {
            SCOPED_TRACE(rows[0][column]);
            const auto way = ways.at(rows[0][column]);
            std::vector<std::string> combine;
            for (std::size_t i = 1; i < rows.size(); ++i) {
                const std::string& option = rows[i][0];
                if (rows[i][column] == "refused")
                    EXPECT_TRUE(refuses([&] { way({option}, context); }, {"softmax_attention", "given"})) << option;
                else if (rows[i][column] != "–")
                    combine.push_back(option);
            }
            way({}, context);
            way(combine, context);
            for (std::size_t a = 0; a < combine.size(); ++a)
                for (std::size_t b = a; b < combine.size(); ++b) way({combine[a], combine[b]}, context);
        }
    });
}

}  // namespace
