// A linear attention as tests see it: its function, its definition, what it draws. Each mechanism's test file registers
// one, and the suites of the family run for all.
#pragma once

#include <attenta/linear/common.hpp>

#include <algorithm>
#include <any>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "case.hpp"

namespace attenta_test {

/// Which tensors may have heads of their own, by the letters of the list.
enum class Grouping {
    any,      ///< Hq, Hk, Hv
    queries,  ///< Hq, Hkv
    state,    ///< H, and G of B and C
    none,     ///< H
};

struct LinearVariant {
    const char* name;
    void (*set)(LinearCase&);
};

struct LinearMechanism {
    const char* name;
    std::vector<LinearVariant> variants;        ///< test_linear puts the plain call before them
    void (*fill)(LinearCase&) = nullptr;        ///< what is drawn otherwise than by the list
    bool signed_normalizer = false;             ///< sums of keys of either sign
    bool has_history = false;                   ///< queries may be fewer than keys, the first of which are history then
    void (*fix_length)(LinearCase&) = nullptr;  ///< so that parts of a sequence measure as the whole does
    bool (*can_be_cut)(const LinearCase&) = nullptr;   ///< false: some queries see later keys, or keys what comes later
    bool (*divides)(const LinearCase&) = nullptr;      ///< false: a state needs no normalizer
    void (*widen)(LinearCase&) = nullptr;              ///< numbers that functions of them could make too large
    bool (*rows_alone)(const LinearCase&) = nullptr;   ///< false: something is measured in all rows of q
    bool (*heads_alone)(const LinearCase&) = nullptr;  ///< false: ... of all heads
    bool (*allocates)(const LinearCase&) = nullptr;    ///< true: every call does
    LinearState (*past)(const LinearCase&) = nullptr;  ///< where random numbers are none
    std::int64_t most_dim = 1 << 20;                   ///< of states that grow with its square
    std::int64_t wide_dim = 1024;                      ///< of a call that needs more memory than those of narrow states
    std::int64_t wide_tokens = 3;                      ///< of that call
    const char* free_width = "";                       ///< an input whose rows may be shorter
    bool joins_heads = false;                          ///< outputs of a head depend on the other heads

    // From the lists of the mechanism.
    std::vector<attenta::Input> inputs = {};
    Grouping grouping = Grouping::any;
    LinearOptions options = {};
    void (*call)(const LinearViews&, const LinearOptions&, Out, LinearState&, Context&) = nullptr;
    NaiveLinear (*naive)(const LinearViews&, const LinearOptions&, const LinearState&) = nullptr;
    void (*move_on)(LinearOptions&, std::int64_t tokens) = nullptr;  ///< positions
    void (*check_data)(LinearOptions&) = nullptr;
    bool (*set_scale)(LinearOptions&, float) = nullptr;  ///< false: there is none

    bool is_optional(std::string_view input) const {
        return std::any_of(inputs.begin(), inputs.end(), [&](const attenta::Input& in) {
            return input == in.name && (in.flags & attenta::Input::optional);
        });
    }
};

inline void PrintTo(const LinearMechanism* m, std::ostream* out) { *out << m->name; }

/// Of all test files in this program.
inline std::deque<LinearMechanism>& linear_mechanisms() {
    static std::deque<LinearMechanism> all;
    return all;
}

inline Grouping grouping_of(const std::vector<attenta::Input>& inputs) {
    const auto has = [&](std::string_view letter) {
        return std::any_of(inputs.begin(), inputs.end(), [&](const attenta::Input& in) {
            return std::string_view(in.shapes.text).substr(1).starts_with(letter);
        });
    };
    return has("Hkv") ? Grouping::queries : has("Hk") ? Grouping::any : has("G") ? Grouping::state : Grouping::none;
}

/// definition(inputs, options, past) in double precision.
template <auto function, auto definition>
const LinearMechanism& test_linear(LinearMechanism m) {
    using Inputs = typename attenta::LinearFunction<function>::Inputs;
    using Options = typename attenta::LinearFunction<function>::Options;
    static constexpr auto inputs_of = [](const LinearViews& views) {
        Inputs x;
        Inputs::list([&](std::string_view name, auto& tensor, const char*, unsigned = 0) { views.take(name, tensor); },
                     x);
        return x;
    };
    m.inputs = attenta::InputList(Inputs{}).copy();
    m.grouping = grouping_of(m.inputs);
    m.options = Options{};
    m.variants.insert(m.variants.begin(), {"plain", [](LinearCase&) {}});
    m.call = [](const LinearViews& views, const LinearOptions& options, Out o, LinearState& state, Context& context) {
        function(inputs_of(views), o, state, std::any_cast<const Options&>(options), context);
    };
    m.naive = [](const LinearViews& views, const LinearOptions& options, const LinearState& past) {
        return definition(inputs_of(views), std::any_cast<const Options&>(options), past);
    };
    m.move_on = [](LinearOptions& options, std::int64_t tokens) {
        if constexpr (requires(Options o) { o.offset; }) std::any_cast<Options&>(options).offset += tokens;
        if constexpr (requires(Options o) { o.position; }) std::any_cast<Options&>(options).position += tokens;
    };
    m.check_data = [](LinearOptions& options) { std::any_cast<Options&>(options).check_data = true; };
    m.set_scale = [](LinearOptions& options, float scale) {
        if constexpr (requires(Options o) { o.scale; }) std::any_cast<Options&>(options).scale = scale;
        return requires(Options o) { o.scale; };
    };
    return linear_mechanisms().emplace_back(std::move(m));
}

inline void call(const LinearCase& c, const LinearViews& views, const LinearOptions& options, Out o, LinearState& state,
                 Context& context) {
    c.mechanism->call(views, options, o, state, context);
}
inline NaiveLinear naive(const LinearCase& c, const LinearViews& views) {
    return c.mechanism->naive(views, c.options, c.past);
}
inline NaiveLinear naive(const LinearCase& c) { return naive(c, c.views()); }

/// The options of a part that begins at a token: positions go on.
inline LinearOptions options_at(const LinearCase& c, std::int64_t begin) {
    LinearOptions moved = c.options;
    c.mechanism->move_on(moved, begin);
    return moved;
}

template <class Options>
Options& options_of(LinearCase& c) {
    return std::any_cast<Options&>(c.options);
}
template <class Options>
const Options& options_of(const LinearCase& c) {
    return std::any_cast<const Options&>(c.options);
}

inline std::int64_t state_heads(const LinearCase& c) { return std::max(c.shape.Hk, c.shape.Hv); }
inline std::int64_t most_heads(const LinearCase& c) { return std::max(c.shape.Hq, state_heads(c)); }

/// Changes every number of an input.
template <class F>
void change(LinearCase& c, const char* name, F&& f) {
    const Tensor<float>& x = c.inputs.find(name)->second.tensor;
    x.each_row([&](float* row, std::int64_t, std::int64_t) {
        for (std::int64_t i = 0; i < x.view().dim; ++i) row[i] = f(row[i]);
    });
}

inline std::string describe(const LinearCase& c) {
    std::ostringstream out;
    out << c.mechanism->name << ", " << c.shape << ", " << gates_names[static_cast<int>(c.gates)] << " gates"
        << (c.past.empty() ? "" : ", past") << (c.order == Order::head_token ? "" : ", token-major")
        << (c.pad ? ", padded" : "") << c.words;
    return out.str();
}

/// A past of random numbers, of the shape that the definition gives.
inline void draw_past(LinearCase& c) {
    if (c.mechanism->past) {
        c.past = c.mechanism->past(c);
        return;
    }
    const NaiveLinear shape = naive(c, c.views(0, 1));
    LinearState past(shape.state_heads, shape.dim, shape.dim_v);
    for (float& x : past.matrix) x = 0.5f * c.random.normal();
    past.normalizer = c.random.normals(static_cast<std::int64_t>(shape.normalizer.size()));
    for (float& x : past.normalizer)
        if (!c.mechanism->signed_normalizer) x = 0.5f + std::abs(x);
    past.weight = c.random.normals(static_cast<std::int64_t>(shape.weight.size()));
    for (float& x : past.weight) x = 1 + 5 * std::abs(x);
    past.key_max = c.random.normals(static_cast<std::int64_t>(shape.key_max.size()));
    for (float& x : past.key_max) x = 2 + 0.5f * x;
    c.past = std::move(past);
}

/// Required inputs, of the last shape that the list has for them: gates where it says so, else normal numbers.
inline void draw_inputs(LinearCase& c) {
    const LinearShape& s = c.shape;
    const std::map<std::string_view, std::int64_t> heads = {{"H", s.Hv},           {"Hq", s.Hq}, {"Hk", s.Hk},
                                                            {"Hkv", s.Hk},         {"Hv", s.Hv}, {"G", s.Hk},
                                                            {"Hs", state_heads(c)}},
                                                   dims = {
                                                       {"D", s.D}, {"Dv", s.Dv}, {"N", s.D}, {"P", s.Dv}, {"L", s.D}};
    for (const attenta::Input& in : c.mechanism->inputs) {
        if ((in.flags & attenta::Input::optional) || in.rank < 3) continue;
        const attenta::ShapeLetters letters = in.letters();
        const bool queries = letters.tokens == "Tq" || std::string_view(in.name) == "q";
        const Along along = letters.tokens.empty() ? Along::nothing : queries ? Along::queries : Along::keys;
        const std::int64_t width = letters.dim.empty() ? 1 : dims.at(letters.dim), count = heads.at(letters.heads);
        if (in.flags & attenta::Input::gate)
            c.put_gates(in.name, along, count, width);
        else
            c.put_normal(in.name, along, count, width);
    }
}

/// The heads that `grouping` leaves of a shape's.
inline LinearShape fitting(LinearShape s, Grouping grouping) {
    const std::int64_t most = std::max(s.Hk, s.Hv), least = std::min(s.Hk, s.Hv);
    switch (grouping) {
        case Grouping::any:
            break;
        case Grouping::queries:
            s.Hq = std::max(s.Hq, s.Hk), s.Hv = s.Hk;
            break;
        case Grouping::state:
            s.Hq = s.Hv = most, s.Hk = least;
            break;
        case Grouping::none:
            s.Hq = s.Hk = s.Hv;
            break;
    }
    return s;
}

inline LinearCase linear_case(const LinearMechanism& m, const LinearShape& s, Gates gates, std::size_t variant = 0,
                              bool past = false, std::uint64_t seed = 1, Order order = Order::head_token,
                              std::int64_t pad = 0) {
    LinearCase c(m, fitting(s, m.grouping), gates, seed, order, pad);
    c.shape.D = std::min(c.shape.D, m.most_dim);
    c.options = m.options;
    draw_inputs(c);
    if (m.fill) m.fill(c);
    m.variants.at(variant).set(c);
    c.words = std::string(", ") + m.variants[variant].name + ", seed " + std::to_string(seed);
    if (past) draw_past(c);
    return c;
}

}  // namespace attenta_test
