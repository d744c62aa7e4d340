#include "layers.hpp"

#include "machine_memory.hpp"

#include <attenta/softmax/weights.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

namespace view {

namespace {

using attenta::Heads;
using attenta::KvView;
namespace saturating = attenta::saturating;
using attenta::saturating::multiply;

/// What the tiles of all heads of a page may take together, in characters.
constexpr std::int64_t usual_page = 4 << 20;
constexpr std::int64_t usual_side = 256, least_side = 16, most_side = 4096;

std::int64_t side_of(std::int64_t wanted, std::int64_t heads, std::int64_t overlays) {
    if (wanted < 0 || wanted > most_side)
        attenta::fail("view", "pool is " + std::to_string(wanted) + ", needs 1 to " + std::to_string(most_side));
    if (wanted > 0) return wanted;
    // A tile has two numbers of 16 bits, 8 for each overlay, and base64 writes 3 bytes as 4 characters.
    const double of_tile = (4 + static_cast<double>(overlays)) * 4 / 3;
    const double side = std::sqrt(static_cast<double>(usual_page) / of_tile / static_cast<double>(heads));
    return std::clamp(static_cast<std::int64_t>(side), least_side, usual_side);
}

std::string mebibytes(std::int64_t bytes) { return std::to_string((bytes >> 20) + 1) + " MiB"; }

void require_memory(std::int64_t bytes, std::int64_t most, const Grid& grid) {
    if (most == 0) most = cli::machine_memory();
    if (bytes > most)
        attenta::fail("view", "attention of " + std::to_string(grid.queries) + " queries and " +
                                  std::to_string(grid.keys) + " keys takes " + mebibytes(bytes) +
                                  " of memory, there are " + mebibytes(most));
}

/// The layers that are shown, in order.
std::vector<std::int64_t> chosen(std::vector<std::int64_t> wanted, std::int64_t all) {
    if (wanted.empty()) {
        wanted.resize(static_cast<std::size_t>(all));
        std::iota(wanted.begin(), wanted.end(), 0);
    }
    std::sort(wanted.begin(), wanted.end());
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    for (const std::int64_t layer : {wanted.front(), wanted.back()})
        if (layer < 0 || layer >= all)
            attenta::fail("view",
                          "there is no layer " + std::to_string(layer) + ", there are 0 to " + std::to_string(all - 1));
    return wanted;
}

/// Parameters that are given, for the eye: ", page_size 8, top_pages 2".
std::string described(const std::string& parameters) {
    std::string text;
    const auto given = nlohmann::ordered_json::parse(parameters);
    for (const auto& [name, value] : given.items())
        if (!value.is_null()) text += ", " + name + " " + (value.is_string() ? value.get<std::string>() : value.dump());
    return text;
}

}  // namespace

Layers::Layers(Picture& picture, const Settings& settings, std::int64_t all_layers, std::int64_t other_bytes)
    : picture_(picture) {
    picture.layers = chosen(settings.layers, all_layers);
    const std::int64_t per_layer = picture.heads_per_layer, heads = multiply(std::ssize(picture.layers), per_layer);
    const std::int64_t overlays = std::ssize(settings.policies) + std::ssize(settings.selections) + 1;
    Grid& grid = picture.grid;
    grid = Grid::of(grid.queries, grid.keys, side_of(settings.most_tiles, heads, overlays));

    const std::int64_t of_tile =
                           saturating::add(multiply(per_layer, 24 + 8 * overlays), multiply(heads, 24 + overlays)),
                       of_row = multiply(per_layer, 16 * overlays);
    const std::int64_t picture_bytes =
        saturating::add(multiply(grid.tiles(), of_tile), multiply(saturating::add(grid.queries, grid.keys), of_row));
    require_memory(saturating::add(other_bytes, picture_bytes), settings.memory, grid);
}

bool Layers::shown(std::int64_t layer) const {
    return std::binary_search(picture_.layers.begin(), picture_.layers.end(), layer);
}

void Layers::use_overlays(const Settings& settings, const Selection* own) {
    const auto describe = [&](const std::string& name, const std::string& detail) {
        picture_.overlays.push_back({name, detail});
    };
    const std::int64_t tokens = picture_.grid.keys;
    for (const std::string& name : settings.policies) {
        const std::int64_t budget = settings.budget ? settings.budget : std::max<std::int64_t>(16, tokens / 4),
                           prefill = settings.prefill ? settings.prefill : (tokens + 1) / 2;
        policies_.push_back({name, budget, prefill});
        describe(name, "eviction, budget " + std::to_string(budget) + " tokens per K/V head, the first " +
                           std::to_string(prefill) + " read at once");
    }
    if (own) selections_.push_back(*own);
    for (const std::string& text : settings.selections) selections_.push_back(selection_of(text));
    for (const Selection& s : selections_) describe(s.name, "selection" + described(s.parameters));
}

std::vector<HeadMap> Layers::maps(HeadMap::Overlays overlays) const {
    std::vector<HeadMap> all;
    for (std::int64_t h = 0; h < picture_.heads_per_layer; ++h)
        all.emplace_back(picture_.grid, h, picture_.first_position, overlays);
    return all;
}

void Layers::finish(std::int64_t layer, const std::vector<HeadMap>& maps) {
    for (const HeadMap& map : maps) picture_.heads.push_back(map.finish(layer));
}

void Layers::add(std::int64_t layer, const LayerInputs& x, Heads<float> o, attenta::Context& context) {
    const KvView kv = KvView::of(x.k, x.v.data ? x.v : x.k);
    std::vector<attenta::RowStatistics> statistics(static_cast<std::size_t>(multiply(x.q.heads, x.q.tokens)));
    attenta::softmax_statistics(x.q, kv, statistics.data(), x.options, context);

    std::vector<std::unique_ptr<KeptPairs>> kept;
    for (const Policy& policy : policies_) kept.push_back(kept_by(policy, x, context));
    for (const Selection& selection : selections_) {
        require_fit(selection, x);
        kept.push_back(kept_by(selection, x, context));
    }
    std::vector<const KeptPairs*> overlays;
    for (const auto& one : kept) overlays.push_back(one.get());

    // A head of K/V and the heads of q that read it stay on one thread.
    std::vector<HeadMap> heads = maps(overlays);
    const auto look = [maps = heads.data()](const attenta::ScoreTile& t) {
        for (std::int64_t r = 0; r < t.rows; ++r)
            maps[t.row[r].head].add(t.row[r].index, t.keys.begin,
                                    {t.s + r * t.stride, static_cast<std::size_t>(t.keys.count)});
    };
    attenta::softmax_weights(x.q, kv, statistics.data(), {attenta::edit(look)}, o, x.options, context);
    finish(layer, heads);
}

void Layers::add(std::int64_t layer, const float* weights) {
    std::vector<HeadMap> heads = maps({});
    const auto keys = static_cast<std::size_t>(picture_.grid.keys);
    for (HeadMap& head : heads)
        for (std::int64_t query = 0; query < picture_.grid.queries; ++query, weights += keys)
            head.add(query, 0, {weights, keys});
    finish(layer, heads);
}

}  // namespace view
