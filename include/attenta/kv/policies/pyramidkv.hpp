// PyramidKV is SnapKV with a budget that falls from the lowest layer to the highest. Cai et al. 2024, "PyramidKV:
// Dynamic KV Cache Compression based on Pyramidal Information Funneling", section 4.
//
//   capacity(layer) = highest − layer · (highest − lowest) / (layers − 1),  lowest = B / beta,  highest + lowest = 2·B
//
// where no layer gets more than the prompt before the window. The window stays, and of the tokens before it the best of
// SnapKV's scores; nothing is evicted in decoding. Time O(window·P·D) after the prompt; nothing is kept.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/kv/eviction/window_scores.hpp>

#include <cmath>
#include <string>

ATTENTA_BEGIN

enum class PyramidRounding : std::uint8_t { floor, real };
constexpr auto names_of(PyramidRounding) { return std::to_array<std::string_view>({"floor", "real"}); }

struct PyramidkvOptions : WindowOptions {
    std::int64_t budget = 1024;  ///< tokens kept per K/V head, the mean of all layers
    std::int64_t layer = 0;      ///< this one, counted from 0
    std::int64_t layers = 32;    ///< of the model, at least 2
    std::int64_t beta = 20;      ///< the highest layer keeps budget / beta
    PyramidRounding rounding = PyramidRounding::floor;

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head, the mean of all layers");
        WindowOptions::fields(visit, o);
        visit("layer", o.layer, "this layer, counted from 0");
        visit("layers", o.layers, "layers of the model");
        visit("beta", o.beta, "the highest layer keeps budget / beta");
        visit("rounding", o.rounding,
              "floor (integers, the window beside them) or real (rounded once, window included)");
    }
};

class Pyramidkv final : public EvictionPolicy {
public:
    using Options = PyramidkvOptions;
    explicit Pyramidkv(const PyramidkvOptions& options = {}) : options_(options), scores_(options) {}

    /// Tokens that this layer may keep of a prompt, the window included. Throws Error as `needs` does.
    std::int64_t capacity(std::int64_t prompt) const {
        check();
        return options_.rounding == PyramidRounding::floor ? floored(prompt) : rounded(prompt);
    }
    EvictionNeeds needs(const EvictionShape&) override {
        check();
        return {};
    }
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override {
        if (!now.prompt || now.seen <= capacity(now.seen)) return;
        scores_.keep_best(now, heads, capacity(now.seen), choices);
    }

private:
    void check() const {
        const char* const f = "pyramidkv";
        eviction::check_window(f, options_, options_.budget);
        eviction::require_at_least(f, "layers", options_.layers, 2);
        eviction::require_at_least(f, "beta", options_.beta, 1);
        if (options_.layer < 0 || options_.layer >= options_.layers)
            fail(f, "layer is " + std::to_string(options_.layer) + ", needs 0 to fewer than the " +
                        std::to_string(options_.layers) + " layers");
    }
    std::int64_t floored(std::int64_t prompt) const {
        const std::int64_t before = options_.budget - options_.window, most = prompt - options_.window;
        if (prompt < options_.budget) return prompt;
        if (prompt < 2 * before) return options_.budget;
        const std::int64_t highest = std::min(2 * before - before / options_.beta, most), lowest = 2 * before - highest;
        return highest - options_.layer * ((highest - lowest) / (options_.layers - 1)) + options_.window;
    }
    std::int64_t rounded(std::int64_t prompt) const {
        const auto budget = static_cast<double>(options_.budget), P = static_cast<double>(prompt),
                   window = static_cast<double>(options_.window);
        const double highest = std::min(2 * budget - budget / static_cast<double>(options_.beta), P - window),
                     lowest = 2 * budget - highest;
        if (!(P >= highest && highest >= lowest && lowest >= window)) return options_.budget;
        const double step = (highest - lowest) / static_cast<double>(options_.layers - 1);
        return static_cast<std::int64_t>(std::nearbyint(highest - static_cast<double>(options_.layer) * step));
    }

    PyramidkvOptions options_;
    eviction::WindowScores scores_;
};

ATTENTA_END
