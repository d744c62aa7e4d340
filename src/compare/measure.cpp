#include "measure.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <new>

#include "bench/ruler/median.hpp"
#include "recipes.hpp"
#include "setup.hpp"
#include "src/catalog/declared.hpp"

namespace compare {

namespace {

using attenta::Mechanism;
using attenta::Tensor;
using attenta::Tensors;

constexpr double enough = 0.03;   ///< seconds of runs
constexpr double too_long = 0.4;  ///< seconds after which one run is enough
constexpr double longest = 10;    ///< seconds that a call may be expected to take

template <class F>
double once(const F& run) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// The median of the runs after the first, whose time is given and counts only where it was long.
template <class F>
double sample(double first, const F& run) {
    if (first > too_long) return first;
    std::vector<double> seconds;
    double total = 0;
    while (total < enough || (seconds.size() < 3 && total < too_long)) {
        seconds.push_back(once(run));
        total += seconds.back();
    }
    return bench::median(seconds);
}

/// A call through the catalog and the outputs of its first run.
struct Timed {
    Tensors outputs;
    double seconds = 0;
};

Timed time_call(const Mechanism& m, const Tensors& tensors, const std::string& parameters, attenta::Context& context) {
    Timed t;
    const attenta::CaseInputs inputs{tensors, parameters, false};
    const double first = once([&] { t.outputs = m.run(inputs, context); });
    t.seconds = sample(first, [&] { m.run(inputs, context); });
    return t;
}

/// What a call leaves for the next one, under the names of its inputs: state, state_m or m, and initial_state of state.
Tensors carried(const Mechanism& m, const Tensors& outputs) {
    Tensors next;
    for (const attenta::Declared& in : attenta::declared(m.inputs)) {
        if (!in.optional) continue;
        const std::string name(in.name);
        std::vector<std::string> from{name, "state_" + name};
        if (name.starts_with("initial_")) {
            from.push_back(name.substr(8));
            from.push_back("last_" + name.substr(8));
        }
        for (const std::string& output : from)
            if (const Tensor* const t = find(outputs, output)) next.emplace(name, *t);
    }
    return next;
}

bool has_state(const Mechanism& m) {
    for (const attenta::Declared& in : attenta::declared(m.inputs))
        if (in.optional && (in.name.starts_with("state") || in.name.starts_with("initial_") || m.name == "scan"))
            return true;
    return false;
}

double bytes_of(const Tensors& tensors) {
    double total = 0;
    for (const auto& [name, t] : tensors) total += static_cast<double>(t.bytes.size());
    return total;
}

attenta::NamedInputs named_inputs(const Mechanism& m, const Tensors& tensors) {
    attenta::NamedInputs named;
    for (const attenta::Input& in : m.list()) {
        const Tensor* const t = find(tensors, std::string(in.name));
        if (!t) continue;
        const auto& n = t->shape;
        const bool of_tokens = !in.letters().tokens.empty();
        const float* const data = t->as<float>().data();
        named.emplace(in.name, n.size() == 3   ? attenta::hnd(data, n[0], n[1], n[2])
                               : n.size() == 1 ? attenta::hnd(data, n[0], std::int64_t{1}, std::int64_t{1})
                               : of_tokens     ? attenta::hnd(data, n[0], n[1], std::int64_t{1})
                                               : attenta::hnd(data, n[0], std::int64_t{1}, n[1]));
    }
    return named;
}

attenta::Heads<float> heads_of(Tensor& o) {
    return attenta::hnd(o.as<float>().data(), o.shape[0], o.shape[1], o.shape[2]);
}

class Measurement {
public:
    Measurement(const Mechanism& m, const Source& source, const Shape& shape, attenta::Context& context)
        : m_(m), source_(source), shape_(shape), context_(context) {
        row_.mechanism = &m;
    }

    Row operator()() {
        for (const std::int64_t T : shape_.contexts) {
            is_last_ = T == shape_.contexts.back();
            row_.times.push_back({.context = T});
            if (takes_too_long(T)) break;
            row_.reason.clear();  // what a short context is refused for may fit a longer one
            Tensors outputs;
            if (tried("", [&] { outputs = prefill(T); })) tried("decode: ", [&] { decode(T, outputs); });
        }
        if (row_.reason.empty()) row_.reason = missing(row_.times.back());
        return std::move(row_);
    }

private:
    Setup setup(std::int64_t end, std::int64_t queries) const {
        Setup s(m_, source_, end, queries, shape_.budget);
        apply_recipe(s);
        return s;
    }
    bool is_policy(const Setup& s) const { return m_.family == "kv" && s.has_parameter("prompt"); }
    Times& now() { return row_.times.back(); }

    /// As the square of the context, from the last one.
    bool takes_too_long(std::int64_t T) {
        if (row_.times.size() < 2) return false;
        const Times& last = row_.times[row_.times.size() - 2];
        const double growth = static_cast<double>(T) / static_cast<double>(last.context);
        const double seconds = last.prefill.value_or(0) * growth * growth;
        if (seconds < longest) return false;
        row_.reason =
            "would take some " + std::to_string(std::lround(seconds)) + " s at " + std::to_string(T) + " tokens";
        return true;
    }

    void check(const Setup& s) {
        if (s.bytes() > memory_bytes() / 4)
            attenta::fail("compare", "its tensors of " + std::to_string(s.end) + " tokens need " +
                                         std::to_string(std::llround(s.bytes() / (1 << 20))) + " MiB");
    }

    /// What throws becomes the row's reason.
    template <class F>
    bool tried(const char* phase, const F& run) {
        try {
            run();
            return true;
        } catch (const std::bad_alloc&) {
            row_.reason = std::string(phase) + "not enough memory";
        } catch (const std::exception& e) {
            row_.reason = phase + without_prefix(e.what(), "compare: ");
            if (m_.family == "analysis" && !has_recipe(m_))
                row_.reason = "a read-out, not attention over a context: " + row_.reason;
        }
        return false;
    }

    static std::string without_prefix(std::string text, std::string_view prefix) {
        return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
    }

    std::string missing(const Times& times) const {
        if (times.decode) return times.prefill ? "" : "no prefill: its queries come one by one";
        if (m_.family == "analysis") return "a read-out, not attention over a context: no decode step";
        if (m_.family == "gating") return "of features without an order of tokens: no decode step";
        if (row_.decode.error || times.kept) return "decode: less than the noise of the prompt's time";
        return "of whole sequences: no decode step";
    }

    /// Its outputs.
    Tensors prefill(std::int64_t T) {
        Setup s = setup(T, T);
        decodes_ = s.decodes;
        check(s);
        if (!s.prefills) return {};
        if (is_policy(s)) s.set("prompt", T);
        const Tensors tensors = s.tensors();
        Timed whole = time_call(m_, tensors, s.parameters(), context_);
        now().prefill = whole.seconds;
        row_.parameters = s.parameters();
        if (is_policy(s)) keep_of_policy(s, whole.outputs);
        if (is_last_) of_prefill(s, tensors, whole.outputs);
        return std::move(whole.outputs);
    }

    void decode(std::int64_t T, const Tensors& outputs) {
        if (!decodes_) return;
        const Setup step = setup(T, 1);
        const auto takes = [&](std::string_view letter) { return m_.inputs.find(letter) != std::string::npos; };
        if (is_policy(step))
            decode_policy(T);
        else if (has_state(m_) && (m_.family == "linear" || !takes("Tk")))
            decode_state(T, outputs);
        else if (takes("Tq") || !step.kept.empty())
            decode_context(T);
    }

    void keep(double per_token, double fixed) {
        row_.keeps_per_token = per_token > 0;
        const double bytes = per_token * static_cast<double>(now().context) + fixed;
        if (bytes > 0) now().kept = bytes;
    }

    void of_prefill(const Setup& s, const Tensors& tensors, const Tensors& outputs) {
        row_.prefill = quality_of(s, outputs);
        const double T = static_cast<double>(s.end);
        const Tensor* const o = find(outputs, "o");
        const double bytes = bytes_of(tensors) + (o ? static_cast<double>(o->bytes.size()) : 0);
        if (s.dense) row_.prefill_work = {static_cast<double>(s.query_heads()) * T * (T + 1) * row_size(), bytes};
        if (const auto n = state_size(outputs)) row_.prefill_work = {4 * *n * T, bytes};
    }

    double row_size() const { return static_cast<double>(source_.k.dim + source_.v.dim); }

    /// Numbers of the matrix that a recurrence keeps.
    std::optional<double> state_size(const Tensors& outputs) const {
        const Tensor* const state = find(outputs, "state");
        if (m_.family != "linear" || !has_state(m_) || !state || state->shape.size() != 3) return std::nullopt;
        return static_cast<double>(state->size());
    }

    /// One query behind the context.
    void decode_context(std::int64_t T) {
        const Setup s = setup(T, 1);
        const Tensors tensors = s.tensors();
        const Timed step = time_call(m_, tensors, s.parameters(), context_);
        now().decode = step.seconds;
        if (row_.parameters.empty() || !s.prefills) row_.parameters = s.parameters();
        if (s.keeps) keep(s.code_bits > 0 ? code_bytes(s, step.outputs) : s.bytes_per_token(tensors), 0);
        if (!is_last_) return;
        const double pairs = static_cast<double>(s.query_heads() * T);
        if (s.dense) row_.decode_work = {2 * pairs * row_size(), now().kept.value_or(0)};
        if (s.exact == Exact::none) return;
        const Setup last = setup(T, std::min<std::int64_t>(T, 16));
        row_.decode = last.prefills ? quality_of(last, m_.run({last.tensors(), last.parameters()}, context_))
                                    : quality_of(s, step.outputs);
    }

    /// For each token, of codes that the catalog hands out a byte each.
    double code_bytes(const Setup& s, const Tensors& outputs) const {
        double total =
            static_cast<double>(std::min(s.float_tokens, s.end) * source_.k.heads) * row_size() * sizeof(float);
        for (const auto& [name, t] : outputs) {
            if (name.ends_with("_code"))
                total += static_cast<double>(t.size()) * s.code_bits / 8;
            else if (name.ends_with("_scale") || name.ends_with("_zero") || name.ends_with("_stored"))
                total += static_cast<double>(t.bytes.size());
        }
        return total / static_cast<double>(s.end);
    }

    /// One token with the state of the context.
    void decode_state(std::int64_t T, const Tensors& outputs) {
        const Tensors state = carried(m_, outputs);
        if (state.empty()) return;
        Setup s = setup(T, 1);
        s.Tk = 1;
        keep(0, bytes_of(state));
        if (const auto n = state_size(outputs)) row_.decode_work = {4 * *n, 8 * *n};
        const Tensors tensors = s.tensors(state);
        const Timed step = time_call(m_, tensors, s.parameters(), context_);
        now().decode = m_.linear ? time_alone(T, s, step) : step.seconds;
    }

    /// The function alone, without inputs by name and copies of the state.
    double time_alone(std::int64_t T, const Setup& s, const Timed& step) {
        const Setup before = setup(T, T);
        const Tensors past = before.tensors(), tensors = s.tensors();
        attenta::LinearState state;
        Tensors outputs = m_.run({past, before.parameters()}, context_);
        m_.linear(before.parameters())(named_inputs(m_, past))(heads_of(outputs.at("o")), state, context_);
        Tensor o = step.outputs.at("o");
        const attenta::LinearRun run = m_.linear(s.parameters())(named_inputs(m_, tensors));
        const auto next = [&] { run(heads_of(o), state, context_); };
        return sample(once(next), next);
    }

    /// A text of `end` tokens, of which those from `prompt` on come one by one.
    Setup policy(std::int64_t end, std::int64_t prompt) const {
        Setup s = setup(end, end);
        s.set("prompt", prompt);
        return s;
    }

    /// The last quarter of the context, token by token: the time of all less that of the prompt.
    void decode_policy(std::int64_t T) {
        const std::int64_t steps = std::max<std::int64_t>(1, std::min<std::int64_t>(256, T / 4)), prompt = T - steps;
        if (prompt < 1) attenta::fail("compare", "a context of one token leaves no prompt");
        const Setup all = policy(T, prompt), before = policy(prompt, prompt);
        const Tensors tensors = all.tensors(), earlier = before.tensors();
        Tensors outputs;
        std::vector<double> differences;
        double total = 0;
        while (total < too_long && (differences.size() < 3 || total < 4 * enough)) {
            const double longer = once([&] { outputs = m_.run({tensors, all.parameters()}, context_); });
            const double shorter = once([&] { m_.run({earlier, before.parameters()}, context_); });
            differences.push_back((longer - shorter) / static_cast<double>(steps));
            total += longer + shorter;
        }
        const double seconds = bench::median(differences);
        if (seconds > 0) now().decode = seconds;
        if (!is_last_) return;
        if (const Tensor* const o = find(outputs, "o")) row_.decode.error = error_of_steps(all, steps, *o);
        if (all.has_mass) row_.decode.mass = mass_of_steps(prompt, steps);
    }

    bool has_kept(const Tensors& outputs) const {
        const Tensor* const kept = find(outputs, "kept");
        return kept && kept->shape.size() == 2 && kept->shape[0] == source_.k.heads;
    }

    void keep_of_policy(const Setup& s, const Tensors& outputs) {
        if (!has_kept(outputs)) return;
        const auto positions = find(outputs, "kept")->as<std::int64_t>();
        const auto count = std::count_if(positions.begin(), positions.end(), [](std::int64_t p) { return p >= 0; });
        const double bytes = static_cast<double>(count) * row_size() * sizeof(float);
        if (s.has_parameter("budget"))
            keep(0, bytes);
        else
            keep(bytes / static_cast<double>(s.end), 0);
    }

    /// Of sixteen of the steps, each of which needs a run that ends there: what stays is told for the end alone.
    std::optional<double> mass_of_steps(std::int64_t prompt, std::int64_t steps) {
        const std::int64_t count = std::min<std::int64_t>(16, steps);
        double sum = 0;
        for (std::int64_t i = 1; i <= count; ++i) {
            const Setup s = policy(prompt + steps * i / count, prompt);
            const Tensors outputs = m_.run({s.tensors(), s.parameters()}, context_);
            if (!has_kept(outputs)) return std::nullopt;
            sum += mass_of_kept(s, *find(outputs, "kept"));
        }
        return sum / static_cast<double>(count);
    }

    const Mechanism& m_;
    const Source& source_;
    const Shape& shape_;
    attenta::Context& context_;
    Row row_;
    bool is_last_ = false, decodes_ = true;
};

}  // namespace

Row measure(const Mechanism& mechanism, const Source& source, const Shape& shape, attenta::Context& context) {
    return Measurement(mechanism, source, shape, context)();
}

double call_overhead(const Source& source, attenta::Context& context) {
    const Mechanism& softmax = *attenta::find_mechanism("softmax", "softmax");
    const Setup s(softmax, source, 1, 1, 1);
    return time_call(softmax, s.tensors(), s.parameters(), context).seconds;
}

}  // namespace compare
