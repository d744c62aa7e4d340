// Prints text, token by token: any Llama of float weights, by default the bundled byte model answering a question about
// its own prompt.
#include "llama.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <map>
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
    std::string model = ATTENTA_EXAMPLE_DATA, prompt = default_prompt;
    std::vector<Token> prompt_ids;
    std::int64_t tokens = 20;
    float temperature = 0;
    std::uint64_t seed = 0;
    int threads = 1;
    attenta::Dtype storage = attenta::Dtype::f32;
};

Options parse(CLI::App& app, int argc, char** argv) {
    Options o;
    const std::map<std::string, attenta::Dtype> storages{
        {"f32", attenta::Dtype::f32}, {"bf16", attenta::Dtype::bf16}, {"f16", attenta::Dtype::f16}};
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
    std::string storage = "f32";
    app.add_option("--storage", storage, "of keys and values")->check(CLI::IsMember(storages))->capture_default_str();
    app.parse(argc, argv);
    o.storage = storages.at(storage);
    return o;
}

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

    attenta::ThreadPool pool(o.threads);
    attenta::Context context(pool);
    attenta::KvCache cache = model.make_cache(std::min(config.max_positions, prompt_length + o.tokens), o.storage);
    std::mt19937_64 random(o.seed);

    const auto start = Clock::now();
    std::vector<float> logits = model.forward(prompt, cache, 1, context);
    const double prompt_seconds = seconds_since(start);
    for (const Token token : prompt) print(token);

    const auto decode_start = Clock::now();
    std::int64_t generated = 0;
    while (generated < o.tokens) {
        const Token token = sample(logits, o.temperature, random);
        if (std::count(config.end_tokens.begin(), config.end_tokens.end(), token) > 0) break;
        print(token);
        ++generated;
        if (cache.size() == config.max_positions) break;
        logits = model.forward({&token, 1}, cache, 1, context);
    }
    const double decode_seconds = seconds_since(decode_start);
    std::cout << std::endl;

    if (cache.size() == config.max_positions)
        std::cerr << "[the context of " << config.max_positions << " tokens is full]\n";
    std::cerr << "[" << attenta::name(attenta::active_isa()) << ", " << o.threads << " thread(s), "
              << attenta::name(o.storage) << " cache: prompt " << prompt_length << " tokens, "
              << static_cast<double>(prompt_length) / prompt_seconds << " tokens/s; generated " << generated << ", "
              << static_cast<double>(generated) / decode_seconds << " tokens/s]\n";
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
