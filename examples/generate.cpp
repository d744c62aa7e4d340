// Prints text, token by token: any Llama of float weights, by default the bundled byte model answering a question about
// its own prompt. With a policy the cache keeps `budget` tokens per K/V head and layer.
#include "caches.hpp"
#include "llama.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace {

using llama::Token;
using Clock = std::chrono::steady_clock;

constexpr const char* default_prompt =
    "# the log was read by each worker before it moved on\n"
    "let kavo=4821\n"
    "let rimuta=9035\n"
    "# queue state is open and then closed\n"
    "let begi=1760\n"
    "# no other task may run here until this one ends\n"
    "let dopafe=5298\n"
    "# the queue was closed after a short wait\n"
    "let zulo=3347\n"
    "let mitera=6614\n"
    "# each worker read the log before it moved on\n"
    "# the state is open here\n"
    "get zulo=3347\n"
    "get rimuta=9035\n"
    "get kavo=";

struct Options {
    std::string model = ATTENTA_MODEL, prompt = default_prompt, policy = "full", kv = "f32";
    std::vector<Token> prompt_ids;
    std::int64_t tokens = 20, budget = 256;
    float temperature = 0;
    std::uint64_t seed = 0;
    int threads = 1;
};

Options parse(CLI::App& app, int argc, char** argv) {
    Options o;
    app.add_option("--model", o.model, "folder with config.json and model.safetensors")->capture_default_str();
    app.add_option("--prompt", o.prompt, "text to continue, for models whose tokens are bytes");
    app.add_option("--prompt-ids", o.prompt_ids, "token numbers to continue, for all other models: 1,2,3")
        ->delimiter(',');
    app.add_option("--tokens", o.tokens, "tokens to generate")->check(CLI::NonNegativeNumber)->capture_default_str();
    app.add_option("--temperature", o.temperature, "0: always the most likely token")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--seed", o.seed, "of the random draws")->capture_default_str();
    app.add_option("--threads", o.threads)->check(CLI::Range(1, 1024))->capture_default_str();
    app.add_option("--policy", o.policy, "which tokens the cache keeps")
        ->check(CLI::IsMember(caches::names(caches::policies())))
        ->capture_default_str();
    app.add_option("--budget", o.budget, "tokens that a policy keeps")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--kv", o.kv, "storage of keys and values")
        ->check(CLI::IsMember(caches::names(caches::storages())))
        ->capture_default_str();
    app.parse(argc, argv);
    return o;
}

/// The model and the text so far, in a cache that keeps everything or under a policy.
class Reader {
public:
    Reader(const llama::Model& model, const Options& o, std::int64_t capacity) : model_(model), pool_(o.threads) {
        const attenta::CacheOptions options =
            model.cache_options(capacity, caches::find(caches::storages(), o.kv).storage);
        if (o.policy == "full") {
            whole_.emplace(options);
            return;
        }
        if (model.config().has_windows())
            attenta::fail("generate", "policy is " + o.policy + ", needs full: layers of this model have windows");
        evicted_.emplace(options, model.config().heads, caches::find(caches::policies(), o.policy), o.budget);
    }

    /// Logits of the last token.
    std::vector<float> operator()(std::span<const Token> tokens) {
        if (whole_) return model_.forward(tokens, *whole_, 1, context_);
        std::vector<std::int64_t> positions(tokens.size());
        std::iota(positions.begin(), positions.end(), cache().seen());
        const auto attention = [this](std::int64_t layer, auto q, auto k, auto v, auto o) {
            evicted_->attend(layer, q, k, v, o, context_);
        };
        return model_.forward(tokens, positions, attention, 1, context_);
    }
    const attenta::KvCache& cache() const { return whole_ ? *whole_ : evicted_->cache(); }

private:
    const llama::Model& model_;
    attenta::ThreadPool pool_;
    attenta::Context context_{pool_};
    std::optional<attenta::KvCache> whole_;
    std::optional<caches::EvictedCache> evicted_;
};

/// Text where tokens are bytes, numbers otherwise.
class Printer {
public:
    explicit Printer(bool bytes) : bytes_(bytes) {}
    void operator()(Token token) const {
        if (bytes_)
            std::cout << static_cast<char>(token) << std::flush;
        else
            std::cout << token << ' ' << std::flush;
    }

private:
    bool bytes_;
};

std::vector<Token> prompt_tokens(const Options& o, bool bytes) {
    if (!o.prompt_ids.empty()) return o.prompt_ids;
    if (!bytes)
        attenta::fail("generate", "the model's tokens are not bytes and no tokenizer is built in: give --prompt-ids");
    std::vector<Token> tokens;
    for (const char c : o.prompt) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
}

Token sample(const std::vector<float>& logits, float temperature, std::mt19937_64& random) {
    const Token best = llama::most_likely(logits);
    if (temperature <= 0) return best;
    std::vector<double> weights;
    for (const float x : logits)
        weights.push_back(std::exp(static_cast<double>(x - logits[static_cast<std::size_t>(best)]) / temperature));
    return std::discrete_distribution<Token>(weights.begin(), weights.end())(random);
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void generate(const Options& o) {
    const llama::Model model(o.model);
    const llama::Config& config = model.config();
    const bool bytes = config.vocab == 256;
    const Printer print(bytes);
    const std::vector<Token> prompt = prompt_tokens(o, bytes);
    const auto prompt_length = static_cast<std::int64_t>(prompt.size());
    if (prompt.empty() || prompt_length >= config.max_positions)
        attenta::fail("generate", "the prompt has " + std::to_string(prompt_length) + " tokens, needs 1 .. " +
                                      std::to_string(config.max_positions - 1));

    Reader read(model, o, std::min(config.max_positions, prompt_length + o.tokens));
    std::mt19937_64 random(o.seed);

    const auto start = Clock::now();
    std::vector<float> logits = read(prompt);
    const double prompt_seconds = seconds_since(start);
    for (const Token token : prompt) print(token);

    const auto decode_start = Clock::now();
    std::int64_t generated = 0;
    while (generated < o.tokens) {
        const Token token = sample(logits, o.temperature, random);
        if (std::count(config.end_tokens.begin(), config.end_tokens.end(), token) > 0) break;
        print(token);
        ++generated;
        if (read.cache().seen() == config.max_positions) break;
        logits = read({&token, 1});
    }
    const double decode_seconds = seconds_since(decode_start);
    std::cout << std::endl;

    if (read.cache().seen() == config.max_positions)
        std::cerr << "[the context of " << config.max_positions << " tokens is full]\n";
    std::cerr << "[" << attenta::name(attenta::active_isa()) << ", " << o.threads << " thread(s), " << o.kv
              << " cache, policy " << o.policy << ", holds " << read.cache().size() << " tokens: prompt "
              << prompt_length << " tokens, " << static_cast<double>(prompt_length) / prompt_seconds
              << " tokens/s; generated " << generated << ", " << static_cast<double>(generated) / decode_seconds
              << " tokens/s]\n";
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Continues a prompt with a Llama model.");
    try {
        generate(parse(app, argc, argv));
    } catch (const CLI::ParseError& e) {
        return app.exit(e);
    } catch (const std::exception& e) {
        std::cerr << e.what() << '\n';
        return 1;
    }
}
