// A sparse attention as tests see it: its function, its definition, what it draws. Each mechanism's test file registers
// one, and the suites of the family run for all.
#pragma once

#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <any>
#include <cstdint>
#include <deque>
#include <string>
#include <type_traits>
#include <vector>

#include "case.hpp"
#include "naive.hpp"

namespace attenta_test {

struct SparseVariant {
    const char* name;
    void (*set)(SparseCase&);  ///< options, and sizes of letters
};

/// An output beside o and lse.
struct SparseOutput {
    const char* name;
    void (*set)(attenta::SparseOutputs&, void* data);  ///< of the mechanism's own struct: set_output
};

/// Sets a pointer, or a tensor of the shape of o.
template <class Outputs, class T>
void set_member(T Outputs::*member, attenta::SparseOutputs& out, void* data) {
    T& to = static_cast<Outputs&>(out).*member;
    if constexpr (std::is_pointer_v<T>) {
        to = static_cast<T>(data);
    } else {
        to = out.o;
        to.data = static_cast<float*>(data);
    }
}
template <auto member>
void set_output(attenta::SparseOutputs& out, void* data) {
    set_member(member, out, data);
}

/// A selection alone, lists(inputs, to, options, ...), for SparseMechanism::select.
template <auto lists>
struct Selection;
template <class Inputs, class Options, class... More, void (*lists)(const Inputs&, KeyLists&, const Options&, More...)>
struct Selection<lists> {
    static void call(const SparseCase& c, KeyLists& to, Context& context) {
        lists(inputs_of<Inputs>(c), to, std::any_cast<const Options&>(c.options), argument<More>(context)...);
    }

private:
    template <class T>
    static T argument(Context& context) {
        if constexpr (std::is_same_v<T, Context&>)
            return context;
        else
            return nullptr;
    }
};

struct SparseMechanism {
    const char* name;
    attenta::Positions positions = attenta::Positions::last;
    std::vector<SparseVariant> variants = {};  ///< test_sparse puts the plain call before them
    void (*sizes)(SparseCase&) = nullptr;      ///< sets sizes of letters beyond Hq, Hkv, Tq, Tk, D and Dv
    void (*fill)(SparseCase&) = nullptr;       ///< puts what is not a standard normal number: integers, gates
    bool causal = true;                        ///< later tokens do not change a query's output
    bool has_lse = true;
    bool grouped = true;                        ///< Hq may be a multiple of Hkv
    void (*everything)(SparseCase&) = nullptr;  ///< options with which it is causal attention over all keys, to the bit
    std::vector<SparseOutput> outputs = {};     ///< beside o and lse
    void (*select)(const SparseCase&, KeyLists&, Context&) = nullptr;  ///< the selection alone, where there is one

    // From the lists of the mechanism.
    std::vector<attenta::Input> inputs = {};
    std::any options = {};
    void (*call)(const SparseCase&, attenta::Heads<float> o, float* lse, KeyLists*, Context&) = nullptr;
    Naive (*naive)(const SparseCase&) = nullptr;
    void (*check_data)(SparseCase&) = nullptr;
    void (*set_scale)(SparseCase&, float) = nullptr;
};

inline void PrintTo(const SparseMechanism* m, std::ostream* out) { *out << m->name; }

inline std::deque<SparseMechanism>& sparse_mechanisms() {
    static std::deque<SparseMechanism> all;
    return all;
}

/// definition(inputs, options) in double precision.
template <auto function, auto definition>
const SparseMechanism& test_sparse(SparseMechanism m) {
    using Function = attenta::SparseFunction<function>;
    using Inputs = typename Function::Inputs;
    using Options = typename Function::Options;
    m.inputs = attenta::InputList(Inputs{}).copy();
    m.options = Options{};
    m.variants.insert(m.variants.begin(), {"plain", [](SparseCase&) {}});
    m.call = [](const SparseCase& c, attenta::Heads<float> o, float* lse, KeyLists* lists, Context& context) {
        typename Function::Outputs out{};
        out.o = o;
        out.lse = lse;
        out.lists = lists;
        for (const SparseOutput& further : c.mechanism->outputs)
            if (const auto memory = c.outputs.find(further.name); memory != c.outputs.end())
                further.set(out, memory->second);
        function(inputs_of<Inputs>(c), out, std::any_cast<const Options&>(c.options), context);
    };
    m.naive = [](const SparseCase& c) {
        return definition(inputs_of<Inputs>(c), std::any_cast<const Options&>(c.options));
    };
    m.check_data = [](SparseCase& c) { options_of<Options>(c).check_data = true; };
    m.set_scale = [](SparseCase& c, float scale) { options_of<Options>(c).scale = scale; };
    return sparse_mechanisms().emplace_back(std::move(m));
}

/// Inputs of a shape, drawn by the list of the mechanism.
inline SparseCase sparse_case(const SparseMechanism& m, Shape s, std::size_t variant = 0, std::uint64_t seed = 1) {
    if (!m.grouped) s.Hkv = s.Hq;
    if (m.positions == attenta::Positions::same) s.Tk = s.Tq = std::max(s.Tq, std::min<std::int64_t>(s.Tk, 150));
    if (m.positions == attenta::Positions::last) s.Tk = std::max(s.Tk, s.Tq);
    SparseCase c(m, s, seed);
    c.options = m.options;
    if (m.sizes) m.sizes(c);
    m.variants[variant].set(c);
    std::ostringstream words;
    words << m.name << " (" << m.variants[variant].name << ") " << s << " seed " << seed;
    c.words = words.str();
    for (const attenta::Input& in : m.inputs) {
        if (in.elements == attenta::Input::Elements::integers || (in.flags & attenta::Input::optional)) continue;
        const attenta::ShapeLetters l = in.letters();
        const auto size = [&](std::string_view letter) {
            if (letter.empty()) return std::int64_t{1};
            const auto found = c.sizes.find(letter);
            if (found == c.sizes.end()) ADD_FAILURE() << in.name << " needs a size for " << letter;
            return found == c.sizes.end() ? std::int64_t{1} : found->second;
        };
        if (in.rank == 3)
            c.put(in.name, size(l.heads), size(l.tokens), size(l.dim));
        else if (in.rank == 2)
            c.put(in.name, 1, size(l.heads), size(l.tokens.empty() ? l.dim : l.tokens));
        else
            c.put(in.name, 1, 1, size(l.heads));
    }
    if (m.fill) m.fill(c);
    return c;
}

inline Output output_of(const SparseCase& c, Order order = Order::head_token, std::int64_t pad = 0) {
    return Output(c.shape.Hq, c.shape.Tq, c.shape.Dv, order, pad);
}

/// Outputs without an lse have that of the definition, which is not compared then.
inline void call(const SparseCase& c, Output& to, Context& context, KeyLists* lists = nullptr) {
    c.mechanism->call(c, to.o.view(), c.mechanism->has_lse ? to.lse.data() : nullptr, lists, context);
    if (!c.mechanism->has_lse) std::fill(to.lse.begin(), to.lse.end(), 0.f);
}

inline Naive naive(const SparseCase& c) {
    Naive result = c.mechanism->naive(c);
    if (!c.mechanism->has_lse) std::fill(result.lse.begin(), result.lse.end(), 0.0);
    return result;
}

using SparseSuite = testing::TestWithParam<const SparseMechanism*>;

inline std::vector<const SparseMechanism*> all_sparse_mechanisms() {
    std::vector<const SparseMechanism*> all;
    for (const SparseMechanism& m : sparse_mechanisms()) all.push_back(&m);
    return all;
}

}  // namespace attenta_test

#define ATTENTA_SPARSE_SUITE(suite)                             \
    INSTANTIATE_TEST_SUITE_P(                                   \
        All, suite, testing::ValuesIn(all_sparse_mechanisms()), \
        [](const testing::TestParamInfo<const SparseMechanism*>& i) { return std::string(i.param->name); })
