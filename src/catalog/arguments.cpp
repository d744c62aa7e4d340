#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "arguments.hpp"
#include "json_text.hpp"
#include "messages.hpp"

ATTENTA_BEGIN

namespace {

using Json = nlohmann::json;

/// "[2, *, *]"
std::string pattern(Shape expected) {
    std::string text;
    for (const std::int64_t n : expected) {
        text += text.empty() ? "[" : ", ";
        text += n == any_size ? "*" : std::to_string(n);
    }
    return text + "]";
}

/// {"__float__": "Infinity"} or "-Infinity".
std::optional<float> infinity_of(const Json& json) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    if (json == Json::object({{"__float__", "Infinity"}})) return infinity;
    if (json == Json::object({{"__float__", "-Infinity"}})) return -infinity;
    return std::nullopt;
}

/// What stands in ( ) in a list of outputs.
std::set<std::string, std::less<>> optional_names(std::string_view outputs) {
    std::set<std::string, std::less<>> names;
    for (std::size_t at = outputs.find('('); at != outputs.npos; at = outputs.find('(', at + 1))
        names.emplace(outputs.substr(at + 1, outputs.find(' ', at) - at - 1));
    return names;
}

}  // namespace

Arguments::Arguments(std::string_view mechanism, const CaseInputs& inputs, std::string_view outputs)
    : mechanism_(mechanism),
      tensors_(inputs.tensors),
      parameters_(std::make_unique<Json>(parse_parameters(inputs.parameters, mechanism_))) {
    for (const auto& [name, tensor] : tensors_) unread_tensors_.insert(name);
    for (const auto& [name, value] : parameters_->items()) unread_parameters_.insert(name);
    if (!inputs.optional_outputs) left_out_ = optional_names(outputs);
}

Arguments::~Arguments() = default;

void Arguments::refuse(const std::string& reason) const { fail(mechanism_.c_str(), reason); }

void Arguments::refuse_unread() const {
    if (!unread_tensors_.empty()) refuse("unknown input " + in_quotes(*unread_tensors_.begin()));
    if (!unread_parameters_.empty()) refuse("unknown parameter " + in_quotes(*unread_parameters_.begin()));
}

const Tensor& Arguments::tensor(std::string_view input, Shape expected) {
    const auto found = tensors_.find(std::string(input));
    if (found == tensors_.end()) refuse("input " + in_quotes(input) + " is missing");
    unread_tensors_.erase(found->first);
    const auto& shape = found->second.shape;
    if (!is_sound(found->second))
        refuse("input " + in_quotes(input) + " has " + std::to_string(found->second.bytes.size()) +
               " bytes, not those of " + to_text(shape));
    const auto fits = [](std::int64_t size, std::int64_t wanted) { return wanted == any_size || size == wanted; };
    if (!std::equal(shape.begin(), shape.end(), expected.begin(), expected.end(), fits))
        refuse("input " + in_quotes(input) + " has the shape " + to_text(shape) + ", expected " + pattern(expected));
    return found->second;
}

std::size_t Arguments::rank(std::string_view input) const {
    const auto found = tensors_.find(std::string(input));
    return found == tensors_.end() ? 0 : found->second.shape.size();
}

Heads<const float> Arguments::heads(std::string_view input) {
    const auto a = array<float>(input, {any_size, any_size, any_size});
    return hnd(a.data, a.shape[0], a.shape[1], a.shape[2]);
}

KvView::Rows Arguments::side(std::string_view input, const Tensor& t) {
    const std::int64_t tokens = t.shape[1], dim = t.shape[2];
    const auto described = [&](const void* data, Dtype dtype) {
        return KvView::Rows{data, dtype, dim, tokens * dim, dim, 0, 0};
    };
    if (t.type == TensorType::f16) return described(t.bytes.data(), Dtype::f16);
    if (t.type == TensorType::bf16) return described(t.bytes.data(), Dtype::bf16);
    return described(elements<float>(input, t), Dtype::f32);
}

KvView Arguments::kv(std::string_view k, std::string_view v) {
    const Tensor& kt = tensor(k, {any_size, any_size, any_size});
    const Tensor& vt = tensor(v, {kt.shape[0], kt.shape[1], any_size});
    KvView view;
    view.k = side(k, kt);
    view.v = side(v, vt);
    view.heads = kt.shape[0];
    view.tokens = kt.shape[1];
    return view;
}

const Json* Arguments::parameter(std::string_view name) {
    const auto found = parameters_->find(std::string(name));
    if (found == parameters_->end()) return nullptr;
    unread_parameters_.erase(found.key());
    return &*found;
}

void Arguments::read(std::string_view name, const Json& json, bool& value) const {
    if (!json.is_boolean())
        refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", expected true or false");
    value = json.get<bool>();
}

void Arguments::read(std::string_view name, const Json& json, std::int64_t& value) const {
    constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (!json.is_number_integer() || (json.is_number_unsigned() && json.get<std::uint64_t>() > largest))
        refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", expected an integer");
    value = json.get<std::int64_t>();
}

void Arguments::read(std::string_view name, const Json& json, int& value) const {
    std::int64_t wide = 0;
    read(name, json, wide);
    value = static_cast<int>(wide);
    if (value != wide) refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", out of range");
}

void Arguments::read(std::string_view name, const Json& json, float& value) const {
    if (const auto infinity = infinity_of(json)) {
        value = *infinity;
        return;
    }
    if (!json.is_number()) refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", expected a number");
    const double wide = json.get<double>();
    if (std::abs(wide) > std::numeric_limits<float>::max())
        refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", out of range");
    value = static_cast<float>(wide);
}

void Arguments::read(std::string_view name, const Json& json, std::vector<std::int64_t>& value) const {
    value.assign(json.is_array() ? json.size() : 1, 0);
    if (!json.is_array()) return read(name, json, value[0]);
    for (std::size_t i = 0; i < value.size(); ++i)
        read(std::string(name).append("[").append(std::to_string(i)).append("]"), json[i], value[i]);
}

void Arguments::read(std::string_view name, const Json& json, std::vector<Operation>& value) const {
    const auto refuse_it = [&](const Json& it) {
        refuse("parameter " + in_quotes(name) + " is " + shown_json(it) + ", expected lists of a string and integers");
    };
    if (!json.is_array()) refuse_it(json);
    value.clear();
    for (const Json& one : json) {
        if (!one.is_array() || one.empty() || !one[0].is_string()) refuse_it(one);
        Operation& operation = value.emplace_back(Operation{one[0].get<std::string>(), {}});
        for (std::size_t i = 1; i < one.size(); ++i) read(name, one[i], operation.numbers.emplace_back());
    }
}

void Arguments::read(std::string_view name, const Json& json, std::vector<std::string>& value) const {
    if (!json.is_array() || !std::all_of(json.begin(), json.end(), [](const Json& one) { return one.is_string(); }))
        refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", expected a list of strings");
    value = json.get<std::vector<std::string>>();
}

void Arguments::read(std::string_view name, const Json& json, double& value) const {
    if (!json.is_number()) refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", expected a number");
    value = json.get<double>();
}

void Arguments::read(std::string_view name, const Json& json, std::array<float, 2>& value) const {
    if (!json.is_array() || json.size() != value.size())
        refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", expected a list of 2 numbers");
    read(std::string(name) + "[0]", json[0], value[0]);
    if (json[1].is_null())
        value[1] = std::numeric_limits<float>::infinity();
    else
        read(std::string(name) + "[1]", json[1], value[1]);
}

void Arguments::read_numbers(std::string_view name, const Json& json, std::span<float> value) const {
    if (!json.is_array() || json.size() != value.size())
        refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", expected a list of " +
               std::to_string(value.size()) + " numbers");
    for (std::size_t i = 0; i < value.size(); ++i)
        read(std::string(name).append("[").append(std::to_string(i)).append("]"), json[i], value[i]);
}

void Arguments::read(std::string_view name, const Json& json, std::array<std::int64_t, 2>& value) const {
    if (!json.is_array() || json.size() != value.size())
        refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", expected a list of 2 integers");
    for (std::size_t i = 0; i < value.size(); ++i)
        read(std::string(name) + "[" + std::to_string(i) + "]", json[i], value[i]);
}

void Arguments::read(std::string_view name, const Json& json, std::vector<std::array<std::int64_t, 2>>& value) const {
    if (!json.is_array())
        refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", expected a list of lists of 2 integers");
    value.assign(json.size(), {});
    for (std::size_t i = 0; i < value.size(); ++i)
        read(std::string(name).append("[").append(std::to_string(i)).append("]"), json[i], value[i]);
}

void Arguments::read(std::string_view name, const Json& json, std::vector<double>& value) const {
    if (!json.is_array())
        refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", expected a list of numbers");
    value.assign(json.size(), 0);
    for (std::size_t i = 0; i < value.size(); ++i)
        read(std::string(name).append("[").append(std::to_string(i)).append("]"), json[i], value[i]);
}

std::set<std::string, std::less<>> Arguments::members_of(std::string_view name, const Json& json) const {
    if (!json.is_object()) refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", expected an object");
    std::set<std::string, std::less<>> names;
    for (const auto& [member, value] : json.items()) names.insert(member);
    return names;
}

const Json& Arguments::member(const Json& json, std::string_view name) { return json.at(std::string(name)); }

std::size_t Arguments::choice(std::string_view name, const Json& json, std::span<const std::string_view> names) const {
    for (std::size_t i = 0; i < names.size(); ++i)
        if (json.is_string() && json.get_ref<const std::string&>() == names[i]) return i;
    std::string list;
    for (const std::string_view known : names) list.append(list.empty() ? "\"" : ", \"").append(known).append("\"");
    refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", expected one of " + list);
}

std::vector<std::array<std::size_t, 2>> Arguments::pairs_of_choices(std::string_view name, const Json& json,
                                                                    std::span<const std::string_view> names) const {
    const auto is_pair = [](const Json& one) { return one.is_array() && one.size() == 2; };
    if (!json.is_array() || !std::all_of(json.begin(), json.end(), is_pair))
        refuse("parameter " + in_quotes(name) + " is " + shown_json(json) + ", expected a list of lists of 2 strings");
    std::vector<std::array<std::size_t, 2>> pairs;
    for (const Json& one : json) pairs.push_back({choice(name, one[0], names), choice(name, one[1], names)});
    return pairs;
}

bool is_null(const Json& json) { return json.is_null(); }

ATTENTA_END
