// One softmax call with everything it borrows, and the options one by one.
#pragma once

#include <attenta/softmax/softmax.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "compare.hpp"
#include "naive_softmax.hpp"
#include "random.hpp"
#include "shapes.hpp"
#include "tensor.hpp"

namespace attenta_test {

struct Case {
    explicit Case(const Shape& s, std::uint64_t seed = 1, float gain = 1) : shape(s), random(seed) {
        q = random_tensor(random, s.Hq, s.Tq, s.D, Order::head_token, 0, gain);
        k = random_tensor(random, s.Hkv, s.Tk, s.D);
        v = random_tensor(random, s.Hkv, s.Tk, s.Dv);
    }

    Shape shape;
    Random random;
    Tensor<float> q, k, v;
    attenta::SoftmaxOptions options;
    NaiveExtras extras;
    std::string words;  ///< what is special, for messages

    // Borrowed by the options.
    std::vector<float> slopes, sink, bias;
    std::vector<attenta::bfloat16> bias_bf16;
    std::vector<attenta::float16> bias_f16;
    std::vector<std::int64_t> segment_q, segment_k;
    std::unique_ptr<bool[]> mask;
};

inline std::string describe(const Case& c) {
    std::ostringstream out;
    out << c.shape << c.words;
    return out.str();
}

inline Naive naive(const Case& c) { return naive_softmax(c.q.view(), c.k.view(), c.v.view(), c.options, c.extras); }

inline Output attend(const Case& c, const attenta::KvView& kv, attenta::Context& context) {
    Output out(c.shape.Hq, c.shape.Tq, c.shape.Dv);
    attenta::softmax_attention(c.q.view(), kv, out.o.view(), c.options, out.lse.data(), context);
    return out;
}

inline Output attend(const Case& c, attenta::Context& context) {
    return attend(c, attenta::KvView::of(c.k.view(), c.v.view()), context);
}

struct OptionSetter {
    const char* name;
    void (*set)(Case&);
};

inline void set_bias(Case& c, std::int64_t heads, double infinite) {
    c.bias = c.random.normals(heads * c.shape.Tq * c.shape.Tk);
    for (float& b : c.bias)
        if (c.random.chance(infinite)) b = -std::numeric_limits<float>::infinity();
    c.options.bias = {c.bias.data(), heads, c.shape.Tq, c.shape.Tk};
}

/// Each key with this chance; every `blind`-th query sees nothing.
inline void set_mask(Case& c, std::int64_t heads, double chance, std::int64_t blind) {
    const std::int64_t rows = heads * c.shape.Tq, n = rows * c.shape.Tk;
    c.mask = std::make_unique<bool[]>(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i)
        c.mask[static_cast<std::size_t>(i)] = c.random.chance(chance) && (i / c.shape.Tk + 1) % blind != 0;
    c.options.mask = {c.mask.get(), heads, c.shape.Tq, c.shape.Tk};
}

/// A bias with room between its rows and heads and with fewer columns than keys, stored as T in `memory`. What nobody may
/// read is NaN.
template <class T>
void set_bias_in(Case& c, std::vector<T>& memory, std::int64_t heads, std::int64_t rows, std::int64_t missing) {
    attenta::Matrices<T> m{nullptr, heads, rows, std::max<std::int64_t>(c.shape.Tk - missing, 0)};
    m.row_stride = m.cols + 3;
    m.head_stride = rows * m.row_stride + 5;
    memory.assign(static_cast<std::size_t>(heads * m.head_stride), untouched<T>());
    m.data = memory.data();
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t r = 0; r < rows; ++r)
            for (std::int64_t j = 0; j < m.cols; ++j)
                m.row(h, r)[j] =
                    static_cast<T>(c.random.chance(0.2) ? -std::numeric_limits<float>::infinity() : c.random.normal());
    c.options.bias = m;
}

/// A mask with room between its rows and heads and with fewer columns than keys. What nobody may read is true.
inline void set_mask_in(Case& c, std::int64_t heads, std::int64_t rows, std::int64_t missing) {
    attenta::Matrices<bool> m{nullptr, heads, rows, std::max<std::int64_t>(c.shape.Tk - missing, 0)};
    m.row_stride = m.cols + 3;
    m.head_stride = rows * m.row_stride + 5;
    const auto n = static_cast<std::size_t>(heads * m.head_stride);
    c.mask = std::make_unique<bool[]>(n);
    std::fill_n(c.mask.get(), n, true);
    m.data = c.mask.get();
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t r = 0; r < rows; ++r)
            for (std::int64_t j = 0; j < m.cols; ++j) m.row(h, r)[j] = c.random.chance(0.6);
    c.options.mask = {m.data, m.heads, m.rows, m.cols, m.row_stride, m.head_stride};
}

/// Documents of random lengths; keys and queries end together. (Without keys there is nothing to name.)
inline void set_segments(Case& c) {
    if (c.shape.Tk == 0) return;
    c.segment_q.clear(), c.segment_k.clear();
    std::int64_t document = 7;
    for (std::int64_t j = 0; j < c.shape.Tk; ++j)
        c.segment_k.push_back(document = c.random.chance(0.05) ? c.random.integer(1, 9) : document);
    for (std::int64_t t = 0; t < c.shape.Tq; ++t) {
        const std::int64_t j = t + c.shape.Tk - c.shape.Tq;
        c.segment_q.push_back(j < 0 ? 100 : c.segment_k.data()[j]);
    }
    c.options.segment_q = c.segment_q;
    c.options.segment_k = c.segment_k;
}

/// A mask composed by the user, with what it means said in plain words.
inline void set_own_mask(Case& c) {
    c.options.visible = (attenta::Causal{} && attenta::Window{37, -1}) || attenta::Global{4};
    c.extras.visible = [](const Pair& p) { return (p.j <= p.i && p.j >= p.i - 37) || p.j < 4; };
}

/// A user's function on the scores of a tile.
inline void set_own_edit(Case& c) {
    const float temperature = 0.5f;
    c.options.edits = attenta::ScoreEdits{attenta::edit([temperature](attenta::ScoreTile& t) {
        for (std::int64_t r = 0; r < t.rows; ++r)
            for (std::int64_t i = 0; i < t.keys.count; ++i) {
                float& s = t.s[r * t.stride + i];
                s = temperature * s +
                    0.125f * static_cast<float>((t.row[r].index + t.row[r].head + t.keys.position(i)) % 5);
            }
    })};
    c.extras.edited = [temperature](double s, const Pair& p) {
        return double{temperature} * s + 0.125 * static_cast<double>((p.query + p.head + p.j) % 5);
    };
}

/// Every option alone; where several set the same field the last one counts.
inline const std::vector<OptionSetter>& option_setters() {
    static const std::vector<OptionSetter> setters = {
        {"scale -0.2", [](Case& c) { c.options.scale = -0.2f; }},
        {"scale 0", [](Case& c) { c.options.scale = 0.0f; }},
        {"scale 1", [](Case& c) { c.options.scale = 1.0f; }},
        {"causal", [](Case& c) { c.options.causal = true; }},
        {"causal prefix 11", [](Case& c) { c.options.causal = true, c.options.prefix = 11; }},
        {"prefix longer than the keys", [](Case& c) { c.options.causal = true, c.options.prefix = 10000; }},
        {"window_left 0", [](Case& c) { c.options.window_left = 0; }},
        {"window_left 19", [](Case& c) { c.options.window_left = 19; }},
        {"window_right 0", [](Case& c) { c.options.window_right = 0; }},
        {"window 5, 140", [](Case& c) { c.options.window_left = 5, c.options.window_right = 140; }},
        {"causal window_left 70", [](Case& c) { c.options.causal = true, c.options.window_left = 70; }},
        {"wide window",
         [](Case& c) { c.options.window_left = c.options.window_right = std::numeric_limits<std::int32_t>::max(); }},
        {"widest window",
         [](Case& c) { c.options.window_left = c.options.window_right = std::numeric_limits<std::int64_t>::max(); }},
        {"prefix of all", [](Case& c) { c.options.causal = true, c.options.prefix = std::int64_t{1} << 62; }},
        {"q_offset negative", [](Case& c) { c.options.q_offset = -(c.shape.Tq / 2) - 1; }},
        {"q_offset inside", [](Case& c) { c.options.q_offset = c.shape.Tk / 3; }},
        {"q_offset beyond", [](Case& c) { c.options.q_offset = c.shape.Tk + 15; }},
        {"softcap 2.5", [](Case& c) { c.options.softcap = 2.5f; }},
        {"bias", [](Case& c) { set_bias(c, 1, 0); }},
        {"bias of heads, -inf", [](Case& c) { set_bias(c, c.shape.Hq, 0.3); }},
        {"bias all -inf", [](Case& c) { set_bias(c, 1, 1.0); }},
        {"bias, one row of heads, bf16", [](Case& c) { set_bias_in(c, c.bias_bf16, c.shape.Hq, 1, 0); }},
        {"bias of rows, short, f16", [](Case& c) { set_bias_in(c, c.bias_f16, 1, c.shape.Tq, 5); }},
        {"bias of heads, strides", [](Case& c) { set_bias_in(c, c.bias, c.shape.Hq, c.shape.Tq, 0); }},
        {"one row of bias, short", [](Case& c) { set_bias_in(c, c.bias, 1, 1, 130); }},
        {"alibi",
         [](Case& c) { c.options.alibi_slopes = c.slopes = attenta::alibi_slopes(static_cast<int>(c.shape.Hq)); }},
        {"sink", [](Case& c) { c.options.sink = c.sink = c.random.normals(c.shape.Hq); }},
        {"segments", [](Case& c) { set_segments(c); }},
        {"mask", [](Case& c) { set_mask(c, 1, 0.6, 1000); }},
        {"sparse mask of heads", [](Case& c) { set_mask(c, c.shape.Hq, 0.02, 1000); }},
        {"mask with blind queries", [](Case& c) { set_mask(c, c.shape.Hq, 0.5, 2); }},
        {"mask, one row of heads", [](Case& c) { set_mask_in(c, c.shape.Hq, 1, 0); }},
        {"mask of heads, strides, short", [](Case& c) { set_mask_in(c, c.shape.Hq, c.shape.Tq, 9); }},
        {"one row of mask, short", [](Case& c) { set_mask_in(c, 1, 1, 130); }},
        {"mask of nothing", [](Case& c) { set_mask(c, 1, 1.1, 1); }},
        {"own mask", [](Case& c) { set_own_mask(c); }},
        {"own edit", [](Case& c) { set_own_edit(c); }},
    };
    return setters;
}

inline void apply(const OptionSetter& setter, Case& c) {
    setter.set(c);
    c.words += std::string(", ") + setter.name;
}

/// Small, with each option at the same chance.
inline Case random_case(std::uint64_t seed, double chance) {
    Random random(seed);
    Shape s;
    s.Hkv = random.integer(1, 3);
    s.Hq = s.Hkv * random.pick<std::int64_t>({1, 1, 2, 3, 4, 5, 7, 8});
    s.Tq = random.pick<std::int64_t>({1, 1, 2, 3, 5, 8, 16, 17, 33, 65});
    s.Tk = random.pick<std::int64_t>({0, 1, 2, 7, 16, 31, 64, 65, 127, 128, 129, 200, 300});
    s.D = random.pick<std::int64_t>({1, 3, 8, 16, 20, 33, 64});
    s.Dv = random.pick<std::int64_t>({1, 5, 8, 16, 24, 33, 64});
    Case c(s, random.bits());
    c.words = ", seed " + std::to_string(seed);
    for (const OptionSetter& setter : option_setters())
        if (random.chance(chance)) apply(setter, c);
    return c;
}

}  // namespace attenta_test
