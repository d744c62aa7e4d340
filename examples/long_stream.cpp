// A sequence of any length in constant memory: the state is all that a linear attention keeps of the past. Inputs are made
// on the fly, in chunks, which change nothing but the speed.
#include <attenta/core/context.hpp>
#include <attenta/core/error.hpp>
#include <attenta/linear/delta_rule.hpp>
#include <attenta/linear/gated_delta_rule.hpp>
#include <attenta/linear/gla.hpp>
#include <attenta/linear/hgrn2.hpp>
#include <attenta/linear/kda.hpp>
#include <attenta/linear/kernel_linear.hpp>
#include <attenta/linear/lightning.hpp>
#include <attenta/linear/retention.hpp>
#include <attenta/linear/rwkv6.hpp>
#include <attenta/linear/rwkv7.hpp>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
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

/// A chunk of the stream, [token, head, dim]. What a token holds depends on its position alone, not on the chunks.
class Chunk {
public:
    explicit Chunk(const Options& o) : heads_(o.heads), dim_(o.dim) {
        const auto wide = static_cast<std::size_t>(o.chunk * o.heads * o.dim);
        for (auto* x : {&q_, &k_, &v_, &g_, &a_, &b_, &o_}) x->resize(wide);
        for (auto* x : {&beta_, &g_token_}) x->resize(static_cast<std::size_t>(o.chunk * o.heads));
    }

    /// The `count` tokens from position `first` on.
    void fill(std::int64_t first, std::int64_t count) {
        first_ = first;
        count_ = count;
        draw(q_, dim_, 1, [](float x) { return x; });
        draw(k_, dim_, 2, [](float x) { return x; });
        draw(v_, dim_, 3, [](float x) { return x; });
        draw(g_, dim_, 4, [](float x) { return -0.02f * (1 + x); });
        draw(g_token_, 1, 5, [](float x) { return -0.02f * (1 + x); });
        draw(beta_, 1, 6, [](float x) { return 0.5f + 0.4f * x; });
        for (std::int64_t row = 0; row < count * heads_; ++row) make_transition(row * dim_);
    }

    std::int64_t first() const { return first_; }
    Heads<const float> q() const { return view(q_, dim_); }
    Heads<const float> k() const { return view(k_, dim_); }
    Heads<const float> v() const { return view(v_, dim_); }
    Heads<const float> g() const { return view(g_, dim_); }
    Heads<const float> g_token() const { return view(g_token_, 1); }
    Heads<const float> beta() const { return view(beta_, 1); }
    Heads<const float> a() const { return view(a_, dim_); }
    Heads<const float> b() const { return view(b_, dim_); }
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
    Heads<const float> view(const std::vector<float>& x, std::int64_t dim) const {
        return attenta::nhd(x.data(), count_, heads_, dim);
    }

    /// map(x) of uniform numbers x in [-1, 1): a linear congruential generator that is started anew for every token.
    template <class F>
    void draw(std::vector<float>& to, std::int64_t dim, std::uint64_t tensor, const F& map) const {
        float* out = to.data();
        for (std::int64_t t = first_; t < first_ + count_; ++t) {
            std::uint64_t x = (static_cast<std::uint64_t>(t) * 8 + tensor) * 0x9e3779b97f4a7c15u;
            x ^= x >> 31;
            for (std::int64_t i = 0; i < heads_ * dim; ++i) {
                x = x * 6364136223846793005u + 1442695040888963407u;
                *out++ = map(static_cast<float>(static_cast<std::int32_t>(x >> 32)) * 0x1p-31f);
            }
        }
    }

    /// A key of length 1, and the transition that RWKV-7 makes of it.
    void make_transition(std::int64_t begin) {
        float *k = k_.data() + begin, *a = a_.data() + begin, *b = b_.data() + begin;
        float squares = 0;
        for (std::int64_t i = 0; i < dim_; ++i) squares += k[i] * k[i];
        const float factor = 1 / std::sqrt(squares + 1e-12f);
        for (std::int64_t i = 0; i < dim_; ++i) {
            k[i] *= factor;
            a[i] = -k[i];
            b[i] = 0.5f * k[i];
        }
    }

    std::int64_t heads_, dim_, first_ = 0, count_ = 0;
    std::vector<float> q_, k_, v_, g_, g_token_, beta_, a_, b_, o_;
};

struct Mechanism {
    const char* name;
    void (*run)(Chunk& x, LinearState& state, Context& context);
};

constexpr Mechanism mechanisms[] = {
    {"kernel_linear", [](Chunk& x, LinearState& s,
                         Context& c) { attenta::kernel_linear(x.q(), x.k(), x.v(), x.o(), s, {.causal = true}, c); }},
    {"lightning",
     [](Chunk& x, LinearState& s, Context& c) { attenta::lightning(x.q(), x.k(), x.v(), {}, x.o(), s, {}, c); }},
    {"retention",
     [](Chunk& x, LinearState& s, Context& c) {
         std::vector<float> theta;  // its rotation goes on through the chunks, by the position of their first token
         for (std::int64_t i = 0; i < x.q().dim / 2; ++i)
             theta.push_back(std::pow(1e-4f, static_cast<float>(2 * i) / static_cast<float>(x.q().dim)));
         attenta::retention(x.q(), x.k(), x.v(), {}, x.o(), s, {.offset = x.first(), .theta = theta}, c);
     }},
    {"gla", [](Chunk& x, LinearState& s, Context& c) { attenta::gla(x.q(), x.k(), x.v(), x.g(), x.o(), s, {}, c); }},
    {"hgrn2", [](Chunk& x, LinearState& s, Context& c) { attenta::hgrn2(x.q(), x.v(), x.g(), x.o(), s, {}, c); }},
    {"rwkv6",
     [](Chunk& x, LinearState& s, Context& c) {
         const std::vector<float> bonus(static_cast<std::size_t>(x.q().heads * x.q().dim), 0.5f);
         const auto u = attenta::hnd(bonus.data(), x.q().heads, 1, x.q().dim);
         attenta::rwkv6(x.q(), x.k(), x.v(), x.g(), u, x.o(), s, {}, c);
     }},
    {"delta_rule",
     [](Chunk& x, LinearState& s, Context& c) { attenta::delta_rule(x.q(), x.k(), x.v(), x.beta(), x.o(), s, {}, c); }},
    {"gated_delta_rule",
     [](Chunk& x, LinearState& s, Context& c) {
         attenta::gated_delta_rule(x.q(), x.k(), x.v(), x.g_token(), x.beta(), x.o(), s, {}, c);
     }},
    {"kda",
     [](Chunk& x, LinearState& s, Context& c) { attenta::kda(x.q(), x.k(), x.v(), x.g(), x.beta(), x.o(), s, {}, c); }},
    {"rwkv7", [](Chunk& x, LinearState& s,
                 Context& c) { attenta::rwkv7(x.q(), x.k(), x.v(), x.a(), x.b(), x.g(), x.o(), s, {}, c); }},
};

std::vector<std::string> mechanism_names() {
    std::vector<std::string> names;
    for (const Mechanism& m : mechanisms) names.emplace_back(m.name);
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
    const auto mechanism = std::find_if(std::begin(mechanisms), std::end(mechanisms),
                                        [&](const Mechanism& m) { return o.mechanism == m.name; });
    attenta::ThreadPool pool(o.threads);
    Context context(pool);
    LinearState state;
    Chunk chunk(o);
    double squares = 0, first_resident = 0;
    const auto start = Clock::now();
    auto reported = start;
    std::int64_t next_report = every, since = 0;
    for (std::int64_t t = 0; t < o.tokens;) {
        const std::int64_t count = std::min({o.chunk, o.tokens - t, next_report - t});
        chunk.fill(t, count);
        mechanism->run(chunk, state, context);
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
        mechanism->name, static_cast<long long>(o.tokens), seconds, tokens / seconds,
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
