// An attention as tests see it: its function, its definition, what it draws. Each mechanism's test file registers one, and the
// suites in tests/softmax/family run for all that a program has.
#pragma once

#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <any>
#include <charconv>
#include <cstdint>
#include <deque>
#include <sstream>
#include <string>
#include <vector>

#include "case.hpp"
#include "naive.hpp"
#include "support/compare.hpp"

namespace attenta_test {

struct AttentionVariant {
    const char* name;
    void (*set)(AttentionCase&);  ///< options, and sizes of letters
};

struct AttentionMechanism {
    const char* name;
    std::vector<AttentionVariant> variants = {};  ///< test_attention puts the plain call before them
    void (*sizes)(AttentionCase&) =
        nullptr;  ///< sets sizes of letters beyond Hq, Hkv, Tq, Tk, D and Dv, or changes them
    void (*fill)(AttentionCase&) = nullptr;  ///< puts what is not a standard normal number: integers, optional inputs
    bool keys_in_any_order = true;           ///< a cache with positions gives the same, whatever its order
    bool more_queries_than_keys = true;
    bool mixes_tokens = false;  ///< neighbours in time meet before there are scores
    bool in_suites = true;  ///< false: its queries and keys have other names than q and k, and its suites are its own
    bool rows_are_apart = true;  ///< no row depends on another query

    // From the lists of the mechanism.
    std::vector<attenta::Input> inputs = {};
    std::any options = {};
    void (*call)(const AttentionCase&, attenta::Heads<float> o, float* lse, Context&) = nullptr;
    Naive (*naive)(const AttentionCase&) = nullptr;
    attenta::VisibleKeys* (*visibility)(AttentionCase&) = nullptr;  ///< null: it has none
    void (*set_scale)(AttentionCase&, float) = nullptr;             ///< null: it has none

    bool reads_cache() const {
        return std::any_of(inputs.begin(), inputs.end(),
                           [](const attenta::Input& in) { return in.elements == attenta::Input::Elements::cache; });
    }
};

inline void PrintTo(const AttentionMechanism* m, std::ostream* out) { *out << m->name; }

inline std::deque<AttentionMechanism>& attention_mechanisms() {
    static std::deque<AttentionMechanism> all;
    return all;
}

/// definition(inputs, options) in double precision.
template <auto function, auto definition>
const AttentionMechanism& test_attention(AttentionMechanism m) {
    using Function = attenta::SoftmaxFunction<function>;
    using Inputs = typename Function::Inputs;
    using Options = typename Function::Options;
    m.inputs = attenta::InputList(Inputs{}).copy();
    if (!m.options.has_value()) m.options = Options{};
    m.variants.insert(m.variants.begin(), {"plain", [](AttentionCase&) {}});
    m.call = [](const AttentionCase& c, attenta::Heads<float> o, float* lse, Context& context) {
        typename Function::Outputs out{};
        out.o = o;
        if constexpr (requires { out.lse; }) out.lse = lse;
        function(inputs_of<Inputs>(c), out, std::any_cast<const Options&>(c.options), context);
    };
    m.naive = [](const AttentionCase& c) {
        return definition(inputs_of<Inputs>(c), std::any_cast<const Options&>(c.options));
    };
    if constexpr (requires(Options o) { o.visibility.causal; })
        m.visibility = [](AttentionCase& c) { return &options_of<Options>(c).visibility; };
    if constexpr (requires(Options o) { o.scale; })
        m.set_scale = [](AttentionCase& c, float scale) { options_of<Options>(c).scale = scale; };
    return attention_mechanisms().emplace_back(std::move(m));
}

/// Inputs of a shape, drawn by the list of the mechanism; with `pad` tokens come first in memory, with room between rows.
inline AttentionCase attention_case(const AttentionMechanism& m, Shape s, std::size_t variant = 0,
                                    std::uint64_t seed = 1, std::int64_t pad = 0) {
    if (!m.more_queries_than_keys) s.Tk = std::max(s.Tk, s.Tq);
    AttentionCase c(m, s, seed);
    c.options = m.options;
    if (m.sizes) m.sizes(c);
    m.variants[variant].set(c);
    for (const auto& [letter, size] : {std::pair{"D", &c.shape.D}, {"Dv", &c.shape.Dv}, {"Tk", &c.shape.Tk}})
        *size = c.sizes.at(letter);
    c.sizes["D/2"] = c.shape.D / 2;
    std::ostringstream words;
    words << m.name << " (" << m.variants[variant].name << ") " << c.shape << " seed " << seed;
    c.words = words.str();
    for (const attenta::Input& in : m.inputs) {
        if (in.elements == attenta::Input::Elements::integers || (in.flags & attenta::Input::optional)) continue;
        const attenta::ShapeLetters l = in.letters();
        const auto size = [&](std::string_view letter) {
            std::int64_t number = 1;
            if (letter.empty() ||
                std::from_chars(letter.data(), letter.data() + letter.size(), number).ec == std::errc())
                return number;
            const auto found = c.sizes.find(letter);
            if (found == c.sizes.end()) ADD_FAILURE() << in.name << " needs a size for " << letter;
            return found == c.sizes.end() ? std::int64_t{1} : found->second;
        };
        const Order order = pad > 0 ? Order::token_head : Order::head_token;
        if (in.rank == 3)
            c.put(in.name, size(l.heads), size(l.tokens), size(l.dim), 1, order, pad);
        else if (in.rank == 2)
            c.put(in.name, 1, size(l.heads), size(l.tokens.empty() ? l.dim : l.tokens), 1, Order::head_token, pad);
        else
            c.put(in.name, 1, 1, size(l.heads));
    }
    if (m.fill) m.fill(c);
    return c;
}

inline Output output_of(const AttentionCase& c, Order order = Order::head_token, std::int64_t pad = 0) {
    return Output(c.shape.Hq, c.shape.Tq, c.shape.Dv, order, pad);
}

inline void call(const AttentionCase& c, Output& to, Context& context) {
    c.mechanism->call(c, to.o.view(), to.lse.data(), context);
}

using AttentionSuite = testing::TestWithParam<const AttentionMechanism*>;

inline std::vector<const AttentionMechanism*> all_attention_mechanisms() {
    std::vector<const AttentionMechanism*> all;
    for (const AttentionMechanism& m : attention_mechanisms())
        if (m.in_suites) all.push_back(&m);
    return all;
}

}  // namespace attenta_test

#define ATTENTA_ATTENTION_SUITE(suite)                             \
    INSTANTIATE_TEST_SUITE_P(                                      \
        All, suite, testing::ValuesIn(all_attention_mechanisms()), \
        [](const testing::TestParamInfo<const AttentionMechanism*>& i) { return std::string(i.param->name); })
