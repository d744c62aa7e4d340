#include "layers.hpp"
#include "llama.hpp"

#include <array>
#include <string_view>

namespace view {

namespace {

using attenta::Heads;
using attenta::saturating::add;
using attenta::saturating::multiply;
using llama::Token;

[[noreturn]] void refuse(const std::string& reason) { attenta::fail("view", reason); }

/// Bytes of a token behind those of the text: a character on several bytes stands at its first one.
struct Character {
    std::string text;
    std::size_t bytes = 1;
};

std::string hexadecimal(unsigned char byte) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    return {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
}

/// Bytes of the UTF-8 character that begins here, 0 where none does.
std::size_t character_bytes(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    const std::size_t bytes = lead < 0x80                   ? 1
                              : lead >= 0xC2 && lead < 0xE0 ? 2
                              : lead >= 0xE0 && lead < 0xF0 ? 3
                              : lead >= 0xF0 && lead < 0xF5 ? 4
                                                            : 0;
    if (bytes == 0 || bytes > text.size()) return 0;
    for (std::size_t i = 1; i < bytes; ++i)
        if ((byte(i) & 0xC0) != 0x80) return 0;
    const bool too_long = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90),
               no_character = (lead == 0xED && byte(1) >= 0xA0) || (lead == 0xF4 && byte(1) >= 0x90);
    return too_long || no_character ? 0 : bytes;
}

/// How the bytes of a text are written along an axis. Those of a character behind its first are a middle dot.
std::vector<std::string> names_of_bytes(std::string_view text) {
    std::vector<std::string> names;
    while (!text.empty()) {
        const std::size_t bytes = character_bytes(text);
        const char c = text[0];
        if (bytes > 1)
            names.emplace_back(text.substr(0, bytes));
        else if (c == '\n')
            names.emplace_back("⏎");
        else if (c == '\t')
            names.emplace_back("⇥");
        else if (bytes == 1 && c >= ' ' && c != 127)
            names.emplace_back(1, c);
        else
            names.push_back(hexadecimal(static_cast<unsigned char>(c)));
        for (std::size_t i = 1; i < bytes; ++i) names.emplace_back("·");
        text.remove_prefix(std::max<std::size_t>(bytes, 1));
    }
    return names;
}

std::vector<Token> tokens_of(const Prompt& prompt, const llama::Config& config) {
    if (!prompt.ids.empty() && !prompt.text.empty()) refuse("there are a prompt and prompt-ids, needs one of them");
    std::vector<Token> tokens = prompt.ids;
    if (tokens.empty() && config.vocab != 256)
        refuse("the model's tokens are not bytes and no tokenizer is built in, needs prompt-ids");
    for (const char c : prompt.text) tokens.push_back(static_cast<unsigned char>(c));
    const auto count = std::ssize(tokens);
    if (count < 1 || count > config.max_positions)
        refuse("the prompt has " + std::to_string(count) + " tokens, the model takes 1 to " +
               std::to_string(config.max_positions));
    return tokens;
}

std::vector<std::string> names_of(const std::vector<Token>& tokens, const llama::Config& config) {
    std::string text;
    std::vector<std::string> names;
    for (const Token token : tokens) {
        text += static_cast<char>(token);
        names.push_back(std::string("#").append(std::to_string(token)));
    }
    return config.vocab == 256 ? names_of_bytes(text) : names;
}

/// Floats of one forward pass: what a token has in a layer, and the wider rows of its network.
std::int64_t bytes_of_pass(const llama::Config& c, std::int64_t tokens) {
    const std::int64_t heads = multiply(2 * c.heads + 4 * c.kv_heads, c.head_dim),
                       rows = add(multiply(4, c.hidden), multiply(4, c.intermediate));
    return multiply(multiply(add(heads, rows), tokens), sizeof(float));
}

}  // namespace

Picture of_model(const std::filesystem::path& directory, const Prompt& prompt, const Settings& settings) {
    const llama::Model model(directory);
    const llama::Config& config = model.config();
    const std::vector<Token> tokens = tokens_of(prompt, config);
    const auto count = static_cast<std::int64_t>(tokens.size());

    Picture picture;
    picture.title =
        directory.filename().empty() ? directory.parent_path().filename().string() : directory.filename().string();
    picture.grid = {.queries = count, .keys = count};
    picture.heads_per_layer = config.heads;
    picture.tokens = names_of(tokens, config);
    Layers layers(picture, settings, config.layers, bytes_of_pass(config, count));
    layers.use_overlays(settings);

    attenta::ThreadPool pool(0);
    attenta::Context context(pool);
    std::vector<std::int64_t> positions(tokens.size());
    for (std::int64_t i = 0; i < count; ++i) positions[static_cast<std::size_t>(i)] = i;
    const auto attention = [&](std::int64_t layer, Heads<const float> q, Heads<const float> k, Heads<const float> v,
                               Heads<float> o) {
        LayerInputs x{.q = q, .k = k, .v = v, .options = {.causal = true}};
        x.options.window_left = config.window_left[static_cast<std::size_t>(layer)];
        if (layers.shown(layer))
            layers.add(layer, x, o, context);
        else
            attenta::softmax_attention(q, attenta::KvView::of(k, v), o, x.options, nullptr, context);
    };
    model.forward(tokens, positions, attention, 1, context);
    return picture;
}

}  // namespace view
