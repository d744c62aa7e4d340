#include <attenta/catalog.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "messages.hpp"
#include "tensor_type.hpp"

ATTENTA_BEGIN

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

struct Tolerance {
    double absolute, relative;
};

double tolerance(const TensorFile& file, const char* key, double otherwise) {
    const auto found = file.metadata.find(key);
    if (found == file.metadata.end()) return otherwise;
    const std::string& text = found->second;
    double value = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value < 0)
        fail("run_case", "metadata " + in_quotes(key) + " is " + in_quotes(text) + ", expected a finite number >= 0");
    return value;
}

std::string required(const TensorFile& file, const char* key) {
    const auto found = file.metadata.find(key);
    if (found == file.metadata.end())
        fail("run_case", "the file is no case: its metadata has no " + in_quotes(key) + ", and no mechanism was given");
    return found->second;
}

/// The tensors in.* and out.*, without their prefixes.
struct CaseTensors {
    Tensors inputs, outputs;

    explicit CaseTensors(const TensorFile& file) {
        for (const auto& [key, tensor] : file.tensors) {
            if (!is_sound(tensor))
                fail("run_case", "tensor " + in_quotes(key) + " has " + std::to_string(tensor.bytes.size()) +
                                     " bytes, not those of " + to_text(tensor.shape));
            if (key.starts_with("in."))
                inputs[key.substr(3)] = tensor;
            else if (key.starts_with("out."))
                outputs[key.substr(4)] = tensor;
            else
                fail("run_case", "the file is no case: tensor " + in_quotes(key) + " is neither in.* nor out.*");
        }
    }
};

/// The elements of any tensor as T, which holds them without loss.
template <class T>
std::vector<T> widened(const Tensor& t) {
    const auto copy = [](const auto& elements) { return std::vector<T>(elements.begin(), elements.end()); };
    switch (t.type) {
        case TensorType::f64:
            return copy(t.as<double>());
        case TensorType::i64:
            return copy(t.as<std::int64_t>());
        case TensorType::i32:
            return copy(t.as<std::int32_t>());
        case TensorType::u8:
            return copy(t.as<std::uint8_t>());
        case TensorType::boolean:
            return copy(t.as<bool>());
        default:
            return copy(t.to_float());
    }
}

std::string index_text(std::int64_t element, std::span<const std::int64_t> shape) {
    std::vector<std::int64_t> index(shape.size());
    for (std::size_t d = shape.size(); d-- > 0; element /= shape[d]) index[d] = element % shape[d];
    return to_text(index);
}

std::string text(std::int64_t value) { return std::to_string(value); }
std::string text(double value) {
    char buffer[32];
    return {buffer, std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, 6).ptr};
}

/// How far a number is from the one that is wanted.
struct Distance {
    double absolute = 0, relative = 0;
    bool within = true;
};

Distance distance(double got, double want, const Tolerance& tolerance) {
    if (got == want || (std::isnan(got) && std::isnan(want))) return {};
    if (!std::isfinite(got) || !std::isfinite(want)) return {infinity, infinity, false};
    const double d = std::abs(got - want);
    return {d, want == 0 ? 0 : d / std::abs(want), d <= tolerance.absolute + tolerance.relative * std::abs(want)};
}

Distance distance(std::int64_t got, std::int64_t want, const Tolerance&) {
    if (got == want) return {};
    const double d = std::abs(static_cast<double>(got) - static_cast<double>(want));
    return {d, want == 0 ? 0 : d / std::abs(static_cast<double>(want)), false};
}

class Comparison {
public:
    Comparison(CaseResult& result, const Tolerance& tolerance) : result_(result), tolerance_(tolerance) {}

    void outputs(const Tensors& got, const Tensors& want) {
        for (const auto& [key, tensor] : want) {
            if (const auto found = got.find(key); found != got.end())
                output("output " + in_quotes(key) + " ", found->second, tensor);
            else
                differ("output " + in_quotes(key) + " is missing");
        }
        for (const auto& [key, tensor] : got)
            if (!want.contains(key)) result_.not_compared.push_back(key);
    }

private:
    void output(const std::string& what, const Tensor& got, const Tensor& want) {
        const bool floating = is_floating(want.type);
        if (is_floating(got.type) != floating || (!floating && got.type != want.type))
            return differ(what + "is " + std::string(name(got.type)) + ", expected " + std::string(name(want.type)));
        if (got.shape != want.shape)
            return differ(what + "has the shape " + to_text(got.shape) + ", expected " + to_text(want.shape));
        if (floating)
            elements<double>(what, got, want);
        else
            elements<std::int64_t>(what, got, want);
    }

    template <class T>
    void elements(const std::string& what, const Tensor& got, const Tensor& want) {
        const auto g = widened<T>(got), w = widened<T>(want);
        std::int64_t wrong = 0;
        std::size_t worst = 0;
        double worst_distance = -1;
        for (std::size_t i = 0; i < g.size(); ++i) {
            const Distance d = distance(g[i], w[i], tolerance_);
            result_.max_abs = std::max(result_.max_abs, d.absolute);
            result_.max_rel = std::max(result_.max_rel, d.relative);
            if (d.within) continue;
            ++wrong;
            if (d.absolute > worst_distance) {
                worst = i;
                worst_distance = d.absolute;
            }
        }
        if (wrong == 0) return;
        const std::string count = std::to_string(wrong) + " of " + std::to_string(g.size()) + " elements wrong, worst ";
        result_.verdict = CaseResult::Verdict::fail;
        add(what + "has " + count + index_text(static_cast<std::int64_t>(worst), got.shape) + ": " + text(g[worst]) +
            ", expected " + text(w[worst]));
    }

    /// Something that is not a matter of numbers.
    void differ(const std::string& reason) {
        result_.verdict = CaseResult::Verdict::fail;
        result_.max_abs = result_.max_rel = infinity;
        add(reason);
    }

    void add(const std::string& reason) { result_.reason += (result_.reason.empty() ? "" : "; ") + reason; }

    CaseResult& result_;
    Tolerance tolerance_;
};

}  // namespace

CaseResult run_case(const TensorFile& file, std::string_view case_name, Context& context) {
    const std::string family = required(file, "family"), mechanism = required(file, "mechanism");
    const Tolerance bounds{tolerance(file, "atol", 2e-5), tolerance(file, "rtol", 2e-4)};
    const CaseTensors tensors(file);
    const auto parameters = file.metadata.find("params");

    CaseResult result;
    result.name = shown(family) + "/" + shown(mechanism) + "/" + shown(case_name);
    const Mechanism* row = find_mechanism(family, mechanism);
    if (!row) return result;
    result.outputs = row->run({tensors.inputs, parameters == file.metadata.end() ? "{}" : parameters->second}, context);
    result.verdict = tensors.outputs.empty() ? CaseResult::Verdict::ran : CaseResult::Verdict::ok;
    Comparison(result, bounds).outputs(result.outputs, tensors.outputs);
    return result;
}

ATTENTA_END
