// From named tensors and JSON parameters to the arguments of a mechanism's function: what makes a row of the catalog a
// few lines.
//
//     void quest(Arguments& args, Context& context) {
//         const auto q = args.heads("q");
//         const KvView kv = args.kv("k", "v");
//         const auto options = args.options<QuestOptions>();
//         quest_attention(q, kv, args.output("o", q.heads, q.tokens, kv.v.dim), options, context);
//     }
//
// All inputs first, then the outputs: the first output refuses tensors and parameters that nobody asked for.
// Errors name the mechanism and the input.
#pragma once

#include <attenta/catalog.hpp>
#include <attenta/core/kv_view.hpp>

#include <nlohmann/json_fwd.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <initializer_list>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "named_enum.hpp"
#include "tensor_type.hpp"

ATTENTA_BEGIN

/// In an expected shape: a size that is free.
inline constexpr std::int64_t any_size = -1;
using Shape = std::initializer_list<std::int64_t>;

/// A contiguous array and its sizes.
template <class T>
struct Array {
    const T* data = nullptr;
    std::vector<std::int64_t> shape;
};

class Arguments {
public:
    /// `outputs` as in Mechanism::outputs.
    Arguments(std::string_view mechanism, const CaseInputs& inputs, std::string_view outputs = {});
    ~Arguments();

    bool has(std::string_view input) const { return tensors_.contains(std::string(input)); }
    /// How many sizes an input has, 0 where it is not given.
    std::size_t rank(std::string_view input) const;
    /// Throws Error with the name of the mechanism.
    [[noreturn]] void refuse(const std::string& reason) const;

    // Tensors. A float is any floating type, converted where it is not F32; other types must be as asked for.
    template <class T>
    Array<T> array(std::string_view input, Shape expected);
    template <class T>
    std::span<const T> vector(std::string_view input);
    template <class T>
    Matrices<const T> matrices(std::string_view input);
    /// [H, T, D]
    Heads<const float> heads(std::string_view input);
    /// k [Hkv, Tk, D] and v [Hkv, Tk, Dv], F16 and BF16 read as they are.
    KvView kv(std::string_view k, std::string_view v);

    /// Empty where the input is not given.
    template <class T>
    std::span<const T> optional_vector(std::string_view input);
    template <class T>
    Matrices<const T> optional_matrices(std::string_view input);

    /// The inputs that a mechanism lists; optional ones where they are given.
    template <class Inputs>
    Inputs inputs();

    /// Parameters, by the names that `fields` lists. Those that are not given keep their defaults.
    template <class Options>
    Options options();

    /// New outputs, zero; null where the caller leaves optional ones out.
    template <class T>
    T* output(std::string_view name, std::vector<std::int64_t> shape);
    Heads<float> output(std::string_view name, std::int64_t heads, std::int64_t tokens, std::int64_t dim) {
        return hnd(output<float>(name, {heads, tokens, dim}), heads, tokens, dim);
    }
    Tensors take_outputs() { return std::move(outputs_); }
    /// Throws Error on tensors and parameters that nobody asked for.
    void refuse_unread() const;

private:
    struct ReadInput;

    template <InputElement T>
    void read_input(std::string_view input, const ShapeList& shapes, Heads<const T>& x);
    template <InputElement T>
    void read_input(std::string_view input, const ShapeList& shapes, Matrices<const T>& x);
    template <InputElement T>
    void read_input(std::string_view input, const ShapeList& shapes, std::span<const T>& x);

    const Tensor& tensor(std::string_view input, Shape expected);
    template <class T>
    const T* elements(std::string_view input, const Tensor& tensor);
    KvView::Rows side(std::string_view input, const Tensor& tensor);

    const nlohmann::json* parameter(std::string_view name);
    void read(std::string_view name, const nlohmann::json& json, bool& value) const;
    void read(std::string_view name, const nlohmann::json& json, int& value) const;
    void read(std::string_view name, const nlohmann::json& json, std::int64_t& value) const;
    void read(std::string_view name, const nlohmann::json& json, float& value) const;
    void read(std::string_view name, const nlohmann::json& json, double& value) const;
    /// A list, or its only element.
    void read(std::string_view name, const nlohmann::json& json, std::vector<std::int64_t>& value) const;
    /// [low, high]; null as high: no limit.
    void read(std::string_view name, const nlohmann::json& json, std::array<float, 2>& value) const;
    void read(std::string_view name, const nlohmann::json& json, std::array<float, 3>& value) const {
        read_numbers(name, json, value);
    }
    void read(std::string_view name, const nlohmann::json& json, std::array<float, 4>& value) const {
        read_numbers(name, json, value);
    }
    void read_numbers(std::string_view name, const nlohmann::json& json, std::span<float> value) const;
    void read(std::string_view name, const nlohmann::json& json, std::array<std::int64_t, 2>& value) const;
    void read(std::string_view name, const nlohmann::json& json, std::vector<std::array<std::int64_t, 2>>& value) const;
    void read(std::string_view name, const nlohmann::json& json, std::vector<Operation>& value) const;
    void read(std::string_view name, const nlohmann::json& json, std::vector<std::string>& value) const;
    void read(std::string_view name, const nlohmann::json& json, std::vector<double>& value) const;
    /// An object of parameters of its own; null leaves the defaults.
    template <ParameterGroup T>
    void read(std::string_view name, const nlohmann::json& json, T& value) const;
    template <NamedEnum E>
    void read(std::string_view name, const nlohmann::json& json, E& value) const;
    template <NamedEnum E>
    void read(std::string_view name, const nlohmann::json& json, std::vector<std::array<E, 2>>& value) const;
    template <class T>
    void read(std::string_view name, const nlohmann::json& json, std::optional<T>& value) const;
    /// The names in an object, and a member of it.
    std::set<std::string, std::less<>> members_of(std::string_view name, const nlohmann::json& json) const;
    static const nlohmann::json& member(const nlohmann::json& json, std::string_view name);
    /// The place in `names` of the string that a parameter is.
    std::size_t choice(std::string_view name, const nlohmann::json& json,
                       std::span<const std::string_view> names) const;
    /// The places of the strings of a list of pairs.
    std::vector<std::array<std::size_t, 2>> pairs_of_choices(std::string_view name, const nlohmann::json& json,
                                                             std::span<const std::string_view> names) const;

    std::string mechanism_;
    const Tensors& tensors_;
    std::unique_ptr<const nlohmann::json> parameters_;
    std::set<std::string, std::less<>> unread_tensors_, unread_parameters_, left_out_;
    std::deque<std::vector<float>> converted_;
    Tensors outputs_;
};

bool is_null(const nlohmann::json& json);

template <class T>
const T* Arguments::elements(std::string_view input, const Tensor& tensor) {
    if constexpr (std::is_same_v<T, float>)
        if (is_floating(tensor.type) && tensor.type != TensorType::f32)
            return converted_.emplace_back(tensor.to_float()).data();
    if (tensor.type != tensor_type_of<T>)
        refuse("input '" + std::string(input) + "' is " + std::string(name(tensor.type)) + ", expected " +
               std::string(name(tensor_type_of<T>)));
    return tensor.as<T>().data();
}

template <class T>
Array<T> Arguments::array(std::string_view input, Shape expected) {
    const Tensor& t = tensor(input, expected);
    return {elements<T>(input, t), t.shape};
}

template <class T>
std::span<const T> Arguments::vector(std::string_view input) {
    const auto a = array<T>(input, {any_size});
    return {a.data, static_cast<std::size_t>(a.shape[0])};
}

template <class T>
Matrices<const T> Arguments::matrices(std::string_view input) {
    const auto a = array<T>(input, {any_size, any_size, any_size});
    return {a.data, a.shape[0], a.shape[1], a.shape[2]};
}

template <class T>
std::span<const T> Arguments::optional_vector(std::string_view input) {
    return has(input) ? vector<T>(input) : std::span<const T>();
}

template <class T>
Matrices<const T> Arguments::optional_matrices(std::string_view input) {
    return has(input) ? matrices<T>(input) : Matrices<const T>();
}

/// Filters [H, C, a, b], as frameworks keep them, become [H, a b, C].
template <InputElement T>
void Arguments::read_input(std::string_view input, const ShapeList& shapes, Heads<const T>& x) {
    const std::size_t sizes = rank(input);
    if (std::is_same_v<T, float> && sizes == 4) {
        const auto a = array<float>(input, {any_size, any_size, any_size, any_size});
        const std::int64_t heads = a.shape[0], channels = a.shape[1], taps = a.shape[2] * a.shape[3];
        std::vector<float>& by_tap = converted_.emplace_back();
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t tap = 0; tap < taps; ++tap)
                for (std::int64_t c = 0; c < channels; ++c) by_tap.push_back(a.data[(h * channels + c) * taps + tap]);
        if constexpr (std::is_same_v<T, float>)
            x = hnd(static_cast<const float*>(by_tap.data()), heads, taps, channels);
    } else if (sizes == 1) {
        const auto a = array<T>(input, {any_size});
        x = hnd(a.data, a.shape[0], 1, 1);
    } else if (sizes == 2) {
        const auto a = array<T>(input, {any_size, any_size});
        const auto is_of_tokens = [](const ShapeList::Shape& s) { return s.tokens != 0 && s.dim == 0; };
        const bool tokens = std::any_of(shapes.shapes.begin(), shapes.shapes.end(), is_of_tokens);
        x = hnd(a.data, a.shape[0], tokens ? a.shape[1] : 1, tokens ? 1 : a.shape[1]);
    } else {
        const auto a = array<T>(input, {any_size, any_size, any_size});
        x = hnd(a.data, a.shape[0], a.shape[1], a.shape[2]);
    }
}

template <InputElement T>
void Arguments::read_input(std::string_view input, const ShapeList&, Matrices<const T>& x) {
    const auto a = array<T>(input, {any_size, any_size});
    x = {a.data, 1, a.shape[0], a.shape[1]};
}

template <InputElement T>
void Arguments::read_input(std::string_view input, const ShapeList&, std::span<const T>& x) {
    x = vector<T>(input);
}

/// Reads the inputs that a mechanism lists.
struct Arguments::ReadInput {
    Arguments* from;

    void operator()(std::string_view name, auto& x, const ShapeList& shapes, unsigned flags = 0) const {
        if (!(flags & Input::optional) || from->has(name)) from->read_input(name, shapes, x);
    }
    void operator()(std::string_view k, std::string_view v, KvView& kv, const char*, const char*,
                    unsigned flags = 0) const {
        if (!(flags & Input::optional) || from->has(k)) kv = from->kv(k, v);
    }
};

template <class Inputs>
Inputs Arguments::inputs() {
    Inputs inputs;
    Inputs::list(ReadInput{this}, inputs);
    return inputs;
}

template <class Options>
Options Arguments::options() {
    Options options;
    Options::fields(
        [this](std::string_view name, auto& value, std::string_view) {
            if (const auto* json = parameter(name)) read(name, *json, value);
        },
        options);
    return options;
}

template <ParameterGroup T>
void Arguments::read(std::string_view name, const nlohmann::json& json, T& value) const {
    if (is_null(json)) return;
    auto unread = members_of(name, json);
    const auto full_name = [&](std::string_view part) { return std::string(name).append(".").append(part); };
    T::fields(
        [&](std::string_view part, auto& x, std::string_view) {
            if (unread.erase(std::string(part)) > 0) read(full_name(part), member(json, part), x);
        },
        value);
    if (!unread.empty()) refuse("there is no parameter '" + full_name(*unread.begin()) + "'");
}

template <NamedEnum E>
void Arguments::read(std::string_view name, const nlohmann::json& json, E& value) const {
    constexpr auto names = names_of(E());
    value = static_cast<E>(choice(name, json, names));
}

template <NamedEnum E>
void Arguments::read(std::string_view name, const nlohmann::json& json, std::vector<std::array<E, 2>>& value) const {
    constexpr auto names = names_of(E());
    value.clear();
    for (const auto& [a, b] : pairs_of_choices(name, json, names))
        value.push_back({static_cast<E>(a), static_cast<E>(b)});
}

template <class T>
void Arguments::read(std::string_view name, const nlohmann::json& json, std::optional<T>& value) const {
    if (is_null(json))
        value.reset();
    else
        read(name, json, value.emplace());
}

template <class T>
T* Arguments::output(std::string_view name, std::vector<std::int64_t> shape) {
    refuse_unread();
    if (left_out_.contains(name)) return nullptr;
    Tensor& t = outputs_[std::string(name)] = Tensor::zeros(tensor_type_of<T>, std::move(shape));
    return t.as<T>().data();
}

ATTENTA_END
