// From a layer's q and k, or from weights that are there, to the heads of a picture.
#pragma once

#include "view.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace view {

/// Fills a picture layer by layer.
class Layers {
public:
    /// Throws Error on settings that do not fit, and where the picture takes more memory than there is. `other_bytes` are
    /// those that the caller needs beside it.
    Layers(Picture& picture, const Settings& settings, std::int64_t all_layers, std::int64_t other_bytes = 0);

    bool shown(std::int64_t layer) const;
    /// Policies and selections of the settings, `own` first if there is one.
    void use_overlays(const Settings& settings, const Selection* own = nullptr);
    /// The weights of a layer; o gets its attention if it has data.
    void add(std::int64_t layer, const LayerInputs& x, attenta::Heads<float> o, attenta::Context& context);
    /// Of given weights [H, Tq, Tk].
    void add(std::int64_t layer, const float* weights);

private:
    std::vector<HeadMap> maps(HeadMap::Overlays overlays) const;
    void finish(std::int64_t layer, const std::vector<HeadMap>& maps);

    Picture& picture_;
    std::vector<Policy> policies_;
    std::vector<Selection> selections_;
};

}  // namespace view
