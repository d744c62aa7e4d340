// A row of the catalog from the lists of a read-out.
#pragma once

#include <attenta/analysis/common/tensors.hpp>
#include <attenta/catalog.hpp>

#include <string>
#include <string_view>
#include <type_traits>

#include "arguments.hpp"
#include "declared.hpp"
#include "rows.hpp"

ATTENTA_BEGIN

namespace rows {

/// What is written about a read-out, in words.
struct AnalysisAbout {
    std::string_view name, summary, source, cost;
};

/// Reads the inputs that a read-out lists; optional ones where they are given.
struct ReadOperand {
    Arguments* args;

    void operator()(std::string_view name, auto& x, const analysis::TensorShape&, unsigned flags = 0) const {
        if (!(flags & Input::optional) || args->has(name)) read(name, x);
    }

private:
    template <class T>
    void read(std::string_view name, std::span<const T>& x) const {
        x = args->vector<T>(name);
    }
    void read(std::string_view name, Heads<const float>& x) const { x = args->heads(name); }
    template <class T, std::size_t rank>
    void read(std::string_view name, analysis::DenseTensor<const T, rank>& x) const {
        const auto a = [&]<std::size_t... i>(std::index_sequence<i...>) {
            return args->array<T>(name, {(static_cast<void>(i), any_size)...});
        }
        (std::make_index_sequence<rank>());
        x.data = a.data;
        std::copy(a.shape.begin(), a.shape.end(), x.sizes.begin());
    }
};

template <class Inputs>
Inputs operands_of(Arguments& args) {
    if constexpr (!analysis::ReadsCache<Inputs>) {
        Inputs x;
        Inputs::list(ReadOperand{&args}, x);
        return x;
    } else {
        return args.inputs<Inputs>();
    }
}

/// Sizes of the letters of inputs, and of those that options give.
template <class Outputs, class Inputs, class Options>
LetterSizes letter_sizes(const Inputs& x, const Options& options) {
    LetterSizes sizes;
    if constexpr (!analysis::ReadsCache<Inputs>) {
        for (const analysis::Operand& in : analysis::operands(x)) {
            std::string_view left(in.shape.text + 1);
            for (std::size_t i = 0; in.data && i < in.shape.rank; ++i) {
                const std::string_view letter = ShapeLetters::cut(left, i + 1 < in.shape.rank ? ", " : "]");
                if (sizes[in.shape.letters[i]] == LetterSizes::unknown) sizes.set(letter, in.sizes[i]);
            }
        }
    } else {
        const InputList list(x);
        for (const Input& in : std::span<const Input>(list))
            if (in.given()) sizes.take(in);
    }
    analysis::for_option_sizes<Outputs>([&](std::string_view letter, std::int64_t n) { sizes.set(letter, n); }, x,
                                        options);
    return sizes;
}

/// Makes the outputs that a read-out lists and whose sizes are known.
struct MakeOutput {
    Arguments* args;
    const LetterSizes* sizes;
    std::string_view without = {};  ///< an output that a case does not have

    void operator()(std::string_view name, auto& x, const analysis::TensorShape& shape) const {
        if (name == without) return;
        std::vector<std::int64_t> all;
        std::string_view left(shape.text + 1);
        for (std::size_t i = 0; i < shape.rank; ++i) {
            const std::string_view letter = ShapeLetters::cut(left, i + 1 < shape.rank ? ", " : "]");
            const bool is_number = letter.find_first_not_of("0123456789") == std::string_view::npos;
            all.push_back(is_number ? std::stoll(std::string(letter)) : (*sizes)[shape.letters[i]]);
            if (all.back() == LetterSizes::unknown) return;
        }
        make(name, x, all);
    }

private:
    template <class T>
    void make(std::string_view name, T*& x, const std::vector<std::int64_t>& all) const {
        x = args->output<T>(name, all);
    }
    void make(std::string_view name, Heads<float>& x, const std::vector<std::int64_t>& all) const {
        x = args->output(name, all[0], all[1], all[2]);
    }
};

template <class Outputs, class Inputs, class Options>
Outputs make_outputs(Arguments& args, const Inputs& x, const Options& options, std::string_view without = {}) {
    Outputs out{};
    const LetterSizes sizes = letter_sizes<Outputs>(x, options);
    Outputs::list(MakeOutput{&args, &sizes, without}, out);
    return out;
}

template <auto function>
void call_analysis(Arguments& args, Context& context) {
    using Function = analysis::Function<function>;
    const auto x = operands_of<typename Function::Inputs>(args);
    const auto options = args.options<typename Function::Options>();
    const auto out = make_outputs<typename Function::Outputs>(args, x, options);
    function(x, out, options, context);
}

/// "rollout [L, T, T], relevance [L, T]"
template <class List>
std::string operands_text(const List& x) {
    std::string text, optional;
    for (const analysis::Operand& o : analysis::operands(x)) {
        std::string& to = o.optional ? optional : text;
        to.append(to.empty() ? "" : ", ").append(o.name).append(" ").append(o.shape.text);
    }
    return optional.empty() ? text : text + ", (" + optional + ")";
}

template <class Inputs>
std::string inputs_text() {
    if constexpr (!analysis::ReadsCache<Inputs>)
        return operands_text(Inputs{});
    else
        return text_of(InputList(Inputs{}));
}

template <auto function>
Mechanism analysis_row(const AnalysisAbout& about, void (*call)(Arguments&, Context&) = call_analysis<function>) {
    using Function = analysis::Function<function>;
    return {.name = about.name,
            .family = "analysis",
            .summary = about.summary,
            .source = about.source,
            .cost = about.cost,
            .inputs = inputs_text<typename Function::Inputs>(),
            .outputs = operands_text(typename Function::Outputs{}),
            .parameters = parameters_of<typename Function::Options>,
            .call = call};
}

std::vector<Mechanism> weights_readout_rows();
std::vector<Mechanism> head_readout_rows();
std::vector<Mechanism> calibration_rows();
std::vector<Mechanism> decomposition_rows();
std::vector<Mechanism> parameter_and_feature_rows();
std::vector<Mechanism> document_readout_rows();

}  // namespace rows

ATTENTA_END
