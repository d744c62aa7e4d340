// A sequence of any length in constant memory: the state is all that a linear attention keeps of the past. Inputs are made
// on the fly, in chunks, which change nothing but the speed.
#include <attenta/catalog.hpp>
#include <attenta/core/error.hpp>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using attenta::Context;
using attenta::Heads;
using attenta::LinearState;
using Clock = std::chrono::steady_clock;

struct Options {
    std::string mechanism = "gla";
    std::int64_t tokens = 1'000'000, heads = 4, dim = 64, chunk = 1024;
    int threads = 1;
};

/// A chunk of the stream, [token, head, dim], for a mechanism of the catalog. What a token holds depends on its position
/// alone, not on the chunks.
class Chunk {
public:
    Chunk(const attenta::Mechanism& mechanism, const Options& o) : heads_(o.heads), dim_(o.dim) {
        for (const attenta::Input& input : mechanism.list()) {
            if (input.flags & attenta::Input::optional && std::string_view(input.name) != "g") continue;
            const auto letters = input.letters();
            if (letters.tokens.empty() && input.flags & attenta::Input::optional) continue;
            inputs_.push_back({input, letters,
                               std::vector<float>(static_cast<std::size_t>(
                                   letters.tokens.empty() ? dim_ * dim_ * heads_ : o.chunk * heads_ * dim_))});
        }
        o_.resize(static_cast<std::size_t>(o.chunk * o.heads * o.dim));
    }

    /// The `count` tokens from position `first` on.
    void fill(std::int64_t first, std::int64_t count) {
        count_ = count;
        views_.clear();
        for (Drawn& x : inputs_) {
            const std::int64_t heads = x.letters.heads == "M" ? dim_ : heads_,
                               tokens = x.letters.tokens.empty() ? 1 : count, dim = x.letters.dim.empty() ? 1 : dim_;
            draw(x, x.letters.tokens.empty() ? 0 : first, tokens, heads * dim);
            views_[x.input.name] = attenta::nhd<const float>(x.values.data(), tokens, heads, dim);
        }
    }

    const attenta::NamedInputs& inputs() const { return views_; }
    Heads<float> o() { return attenta::nhd(o_.data(), count_, heads_, dim_); }

    /// Of the outputs, summed.
    double squares() const {
        double sum = 0;
        for (std::int64_t i = 0; i < count_ * heads_ * dim_; ++i) {
            const auto x = static_cast<double>(o_[static_cast<std::size_t>(i)]);
            sum += x * x;
        }
        return sum;
    }

private:
    struct Drawn {
        attenta::Input input;
        attenta::ShapeLetters letters;
        std::vector<float> values;
    };

    /// Uniform numbers by a linear congruential generator that is started anew for every token: gates about -0.02, rates
    /// and steps about 0.5, keys of length about 1; RWKV-7's transition is that of its keys, which share their numbers.
    void draw(Drawn& x, std::int64_t first, std::int64_t tokens, std::int64_t width) const {
        const std::string_view name = x.input.name;
        const bool gate = x.input.flags & attenta::Input::gate, rate = name == "beta" || name == "dt";
        const bool key = name == "k" || name == "a" || name == "b";
        const float unit = std::sqrt(3.0f / static_cast<float>(dim_));
        const float gain = gate          ? -0.02f
                           : rate        ? 0.4f
                           : name == "k" ? unit
                           : name == "a" ? -unit
                           : name == "b" ? 0.5f * unit
                                         : 1;
        const float shift = gate ? -0.02f : rate ? 0.5f : name == "A" ? -2.0f : 0;
        const std::uint64_t seed = key ? 2 : std::hash<std::string_view>()(name);
        float* out = x.values.data();
        for (std::int64_t t = first; t < first + tokens; ++t) {
            std::uint64_t state = (static_cast<std::uint64_t>(t) * 8 + seed) * 0x9e3779b97f4a7c15u;
            state ^= state >> 31;
            for (std::int64_t i = 0; i < width; ++i) {
                state = state * 6364136223846793005u + 1442695040888963407u;
                *out++ = shift + gain * static_cast<float>(static_cast<std::int32_t>(state >> 32)) * 0x1p-31f;
            }
        }
    }

    std::int64_t heads_, dim_, count_ = 0;
    std::vector<Drawn> inputs_;
    std::vector<float> o_;
    attenta::NamedInputs views_;
};

const attenta::Mechanism& mechanism_of(const std::string& name) { return *attenta::find_mechanism("linear", name); }

bool has(const attenta::Mechanism& m, std::string_view parameter) {
    const auto all = m.parameters();
    return std::any_of(all.begin(), all.end(), [&](const auto& p) { return p.name == parameter; });
}

/// The call for a chunk that begins at a position: some mechanisms are causal if they are told so, some rotate by it.
attenta::LinearCall call_at(const attenta::Mechanism& m, std::int64_t position) {
    std::string parameters = has(m, "causal") ? "\"causal\": true" : "";
    if (has(m, "offset")) parameters += (parameters.empty() ? "" : ", ") + ("\"offset\": " + std::to_string(position));
    return m.linear("{" + parameters + "}");
}

std::vector<std::string> mechanism_names() {
    std::vector<std::string> names;
    for (const attenta::Mechanism& m : attenta::mechanisms())
        if (m.linear) names.emplace_back(m.name);
    return names;
}

Options parse(CLI::App& app, int argc, char** argv) {
    Options o;
    constexpr std::int64_t limit = std::int64_t{1} << 40;
    app.add_option("--mechanism", o.mechanism)->check(CLI::IsMember(mechanism_names()))->capture_default_str();
    app.add_option("--tokens", o.tokens, "length of the stream")
        ->check(CLI::Range(std::int64_t{1}, limit))
        ->capture_default_str();
    app.add_option("--heads", o.heads)->check(CLI::Range(1, 1024))->capture_default_str();
    app.add_option("--dim", o.dim, "width of keys and values, even")->check(CLI::Range(2, 1024))->capture_default_str();
    app.add_option("--chunk", o.chunk, "tokens of a call")->check(CLI::Range(1, 1 << 20))->capture_default_str();
    app.add_option("--threads", o.threads)->check(CLI::Range(1, 1024))->capture_default_str();
    app.parse(argc, argv);
    return o;
}

/// MiB of memory in use; 0 where the system does not tell.
double resident() {
    std::ifstream file("/proc/self/statm");
    std::int64_t all = 0, pages = 0;
    file >> all >> pages;
    return static_cast<double>(pages * sysconf(_SC_PAGESIZE)) / (1 << 20);
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void stream(const Options& o) {
    constexpr std::int64_t every = 100'000;
    const attenta::Mechanism& mechanism = mechanism_of(o.mechanism);
    attenta::ThreadPool pool(o.threads);
    Context context(pool);
    LinearState state;
    Chunk chunk(mechanism, o);
    attenta::LinearCall call = call_at(mechanism, 0);
    const bool positions = has(mechanism, "offset");
    double squares = 0, first_resident = 0;
    const auto start = Clock::now();
    auto reported = start;
    std::int64_t next_report = every, since = 0;
    for (std::int64_t t = 0; t < o.tokens;) {
        const std::int64_t count = std::min({o.chunk, o.tokens - t, next_report - t});
        chunk.fill(t, count);
        if (positions && t > 0) call = call_at(mechanism, t);
        call(chunk.inputs())(chunk.o(), state, context);
        squares += chunk.squares();
        t += count;
        if (first_resident == 0) first_resident = resident();
        if (t < next_report) continue;
        std::printf("%9lld tokens  %9.0f tokens/s  %6.1f MiB resident\n", static_cast<long long>(t),
                    static_cast<double>(t - since) / seconds_since(reported), resident());
        std::fflush(stdout);
        reported = Clock::now();
        since = t;
        next_report += every;
    }
    const double seconds = seconds_since(start), tokens = static_cast<double>(o.tokens);
    std::printf(
        "%s: %lld tokens in %.2f s, %.0f tokens/s, making them included; state %.0f KiB, resident %.1f MiB after the "
        "first call, %.1f MiB now; mean square of the outputs %.6g\n",
        o.mechanism.c_str(), static_cast<long long>(o.tokens), seconds, tokens / seconds,
        static_cast<double>(state.saved_bytes()) / 1024, first_resident, resident(),
        squares / (tokens * static_cast<double>(o.heads * o.dim)));
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Streams a long sequence through a linear attention.");
    try {
        stream(parse(app, argc, argv));
    } catch (const CLI::ParseError& e) {
        return app.exit(e);
    } catch (const std::exception& e) {
        std::cerr << e.what() << '\n';
        return 1;
    }
}
