// Attention weights of a case or of a prompt in a model, as a page to look at.
//
//     view::write(view::of_model(directory, {.text = "get kavo="}, settings), "attention.html");
//
// A page is one file of HTML that needs nothing else. Long contexts are pooled into tiles; weights are exact and never held
// as a matrix.
#pragma once

#include "head_map.hpp"
#include "overlays.hpp"

#include <attenta/catalog.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace view {

struct Settings {
    std::vector<std::int64_t> layers = {};  ///< empty: all
    std::int64_t most_tiles = 0;            ///< on a side of a head; 0: 256, fewer where there are many heads
    std::vector<std::string> policies = {};
    std::int64_t budget = 0;                   ///< of a policy; 0: a quarter of the tokens, at least 16
    std::int64_t prefill = 0;                  ///< tokens that it reads at once; 0: half of them
    std::vector<std::string> selections = {};  ///< as selection_of reads them
    std::int64_t memory = 0;                   ///< bytes that may be used; 0: all of the machine
};

struct Prompt {
    std::string text = {};               ///< of a model whose tokens are bytes
    std::vector<std::int32_t> ids = {};  ///< of any other
};

/// All that a page says.
struct Picture {
    struct Overlay {
        std::string name, detail;
    };

    std::string title, note;
    Grid grid;
    std::int64_t first_position = 0;  ///< of query 0
    std::vector<std::string> tokens;  ///< of the keys, UTF-8; empty: they have none
    std::vector<std::int64_t> layers;
    std::int64_t heads_per_layer = 0;
    std::vector<Overlay> overlays;
    std::vector<Head> heads;  ///< layer by layer
};

/// Of a file with q [Hq, Tq, D] and k [Hkv, Tk, D], or with a size for layers before them, or attn [L, H, Tq, Tk] or
/// [H, Tq, Tk], called in.* or plainly. `parameters` take the place of those of the file: scale, causal, windows, …
/// Throws Error where there is nothing to view, and on settings that do not fit.
Picture of_case(const std::filesystem::path& path, const std::map<std::string, std::string>& parameters,
                const Settings& settings);

/// Of a Llama that llama::Model loads. Throws Error as that does, and on prompts and settings that do not fit.
Picture of_model(const std::filesystem::path& directory, const Prompt& prompt, const Settings& settings);

/// The page as text.
std::string page_of(const Picture& picture);

}  // namespace view
