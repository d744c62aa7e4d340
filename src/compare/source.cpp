#include "source.hpp"

#include <attenta/catalog.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "llama.hpp"

namespace compare {

namespace {

using attenta::Heads;
using attenta::Tensor;
using attenta::TensorFile;

[[noreturn]] void refuse(const std::string& reason) { attenta::fail("compare", reason); }

std::string gibibytes(double bytes) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f GiB", bytes / (1 << 30));
    return text;
}

void check_memory(std::int64_t context, double bytes_per_token) {
    const double needed = static_cast<double>(context) * bytes_per_token;
    if (needed > memory_bytes() / 2)
        refuse("context is " + std::to_string(context) + ", its tensors need " + gibibytes(needed) +
               ", this machine has " + gibibytes(memory_bytes()));
}

void append_head(Block& to, std::int64_t head, Heads<const float> from, std::int64_t from_head) {
    for (std::int64_t t = 0; t < to.tokens; ++t) std::copy_n(from.row(from_head, t), to.dim, to.row(head, t));
}

/// The text that the model's directory comes with, as often as it takes.
std::vector<llama::Token> tokens_of(const std::filesystem::path& directory, std::int64_t context) {
    const TensorFile reference = TensorFile::load(directory / "reference.safetensors");
    const auto found = reference.tensors.find("tokens");
    if (found == reference.tensors.end()) refuse("reference.safetensors has no tensor 'tokens'");
    const auto text = found->second.as<std::int64_t>();
    if (text.empty()) refuse("reference.safetensors has no tokens");
    std::vector<llama::Token> tokens;
    for (std::int64_t t = 0; t < context; ++t) {
        const std::int64_t token = text[static_cast<std::size_t>(t) % text.size()];
        if (!std::in_range<llama::Token>(token)) refuse("reference.safetensors has the token " + std::to_string(token));
        tokens.push_back(static_cast<llama::Token>(token));
    }
    return tokens;
}

}  // namespace

Source model_source(const std::filesystem::path& directory, std::int64_t context, std::int64_t heads) {
    const llama::Model model(directory);
    const llama::Config& c = model.config();
    const std::int64_t group = c.heads / c.kv_heads;
    if (heads == 0) heads = c.heads;
    if (heads < 1 || heads % group != 0)
        refuse("heads is " + std::to_string(heads) + ", needs a multiple of " + std::to_string(group) +
               ", the query heads per key head of the model");
    if (heads > c.layers * c.heads)
        refuse("heads is " + std::to_string(heads) + ", the model has " + std::to_string(c.layers * c.heads));
    std::error_code ignored;
    const std::string title =
        std::filesystem::equivalent(directory, ATTENTA_MODEL, ignored) ? "the bundled model" : directory.string();
    const double floats = static_cast<double>(2 * heads * c.head_dim + 4 * c.layers * c.heads * c.head_dim +
                                              4 * c.hidden + 3 * c.intermediate);
    check_memory(context, floats * sizeof(float));

    Source source{{heads, context, c.head_dim},
                  {heads / group, context, c.head_dim},
                  {heads / group, context, c.head_dim},
                  "layer " + std::to_string(c.layers / 2) + " of " + title};
    const std::vector<llama::Token> tokens = tokens_of(directory, context);
    attenta::KvCache cache = model.make_cache(context);
    model.forward(
        tokens, cache, 1, attenta::default_context(),
        [&](std::int64_t layer, Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<const float>) {
            const std::int64_t place = (layer - c.layers / 2 + c.layers) % c.layers * c.kv_heads;
            for (std::int64_t h = 0; h < source.k.heads; ++h) {
                const std::int64_t from = h - place;
                if (from < 0 || from >= c.kv_heads) continue;
                append_head(source.k, h, k, from);
                append_head(source.v, h, v, from);
                for (std::int64_t i = 0; i < group; ++i) append_head(source.q, h * group + i, q, from * group + i);
            }
        });
    if (source.k.heads > c.kv_heads) source.description += " and those behind it";
    source.description += ", " + std::to_string(context) + " tokens";
    if (context > c.max_positions) source.description += " (trained up to " + std::to_string(c.max_positions) + ")";
    return source;
}

namespace {

/// The tensor that "FILE" or "FILE:TENSOR" names.
Tensor tensor_of(const std::string& place, const std::string& name) {
    std::string path = place, wanted;
    if (const std::size_t colon = place.rfind(':'); colon != std::string::npos && !std::filesystem::exists(place)) {
        path = place.substr(0, colon);
        wanted = place.substr(colon + 1);
    }
    TensorFile file = TensorFile::load(path);
    const auto take = [&](const std::string& key) { return std::move(file.tensors.at(key)); };
    if (!wanted.empty()) {
        if (!file.tensors.contains(wanted)) refuse(path + " has no tensor '" + wanted + "'");
        return take(wanted);
    }
    for (const std::string& key : {name, "in." + name})
        if (file.tensors.contains(key)) return take(key);
    // The only tensor, unless its name says that it is another one.
    const auto others = {"q", "k", "v", "in.q", "in.k", "in.v"};
    const bool names_another =
        std::any_of(others.begin(), others.end(), [&](const char* other) { return file.tensors.contains(other); });
    if (file.tensors.size() != 1 || names_another)
        refuse(path + " has no tensor '" + name + "'; name one as FILE:TENSOR");
    return take(file.tensors.begin()->first);
}

Block block_of(const std::string& place, const std::string& name) {
    Tensor tensor = tensor_of(place, name);
    std::vector<std::int64_t>& shape = tensor.shape;
    if (shape.size() == 4 && shape[0] == 1) shape.erase(shape.begin());
    if (shape.size() != 3 || std::any_of(shape.begin(), shape.end(), [](std::int64_t n) { return n < 1; })) {
        std::string text;
        for (const std::int64_t n : shape) text += (text.empty() ? "" : ", ") + std::to_string(n);
        refuse(name + " of " + place + " has the shape [" + text + "], expected [heads, tokens, dim]");
    }
    Block block;
    block.heads = shape[0];
    block.tokens = shape[1];
    block.dim = shape[2];
    try {
        block.values = tensor.to_float();
    } catch (const attenta::Error& e) {
        refuse(name + " of " + place + ": " + e.what());
    }
    if (!std::all_of(block.values.begin(), block.values.end(), [](float x) { return std::isfinite(x); }))
        refuse(name + " of " + place + " has a number that is not finite");
    return block;
}

Block cut(const Block& from, std::int64_t heads, std::int64_t tokens) {
    if (heads == from.heads && tokens == from.tokens) return from;
    Block to(heads, tokens, from.dim);
    for (std::int64_t h = 0; h < heads; ++h) std::copy_n(from.row(h, 0), tokens * from.dim, to.row(h, 0));
    return to;
}

}  // namespace

Source file_source(const SourceFiles& files, std::int64_t context, std::int64_t heads) {
    for (const auto& [place, name] : {std::pair(&files.q, "q"), std::pair(&files.k, "k"), std::pair(&files.v, "v")})
        if (place->empty()) refuse("--" + std::string(name) + " is missing: --q, --k and --v go together");
    Source s{block_of(files.q, "q"), block_of(files.k, "k"), block_of(files.v, "v"), "q, k, v of the given files"};
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    if (s.k.heads != s.v.heads || s.k.tokens != s.v.tokens || s.q.tokens != s.k.tokens)
        refuse("q, k, v have " + text(s.q.tokens) + ", " + text(s.k.tokens) + ", " + text(s.v.tokens) +
               " tokens and k, v " + text(s.k.heads) + ", " + text(s.v.heads) +
               " heads, needs the same tokens in all and"
               " the same heads in k and v");
    if (s.q.dim != s.k.dim) refuse("q has rows of " + text(s.q.dim) + ", k of " + text(s.k.dim) + ", needs the same");
    if (s.q.heads % s.k.heads != 0)
        refuse("q has " + text(s.q.heads) + " heads, needs a multiple of the " + text(s.k.heads) + " of k");
    const std::int64_t group = s.q.heads / s.k.heads;
    if (context == 0) context = s.q.tokens;
    if (context > s.q.tokens)
        refuse("context is " + text(context) + ", the files have " + text(s.q.tokens) + " tokens");
    if (heads == 0) heads = s.q.heads;
    if (heads > s.q.heads || heads % group != 0)
        refuse("heads is " + text(heads) + ", needs a multiple of " + text(group) + " up to the " + text(s.q.heads) +
               " of q");
    s.q = cut(s.q, heads, context);
    s.k = cut(s.k, heads / group, context);
    s.v = cut(s.v, heads / group, context);
    return s;
}

}  // namespace compare
