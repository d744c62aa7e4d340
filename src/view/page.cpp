#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>
#include <span>
#include <string_view>

#include "html.hpp"
#include "page_parts.hpp"
#include "view.hpp"

namespace view {

namespace {

using Json = nlohmann::ordered_json;

std::string base64(std::span<const std::uint8_t> bytes) {
    constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
        std::uint32_t group = 0;
        for (std::size_t b = 0; b < 3; ++b) group = group << 8 | (b < count ? bytes[i + b] : 0u);
        for (std::size_t c = 0; c < 4; ++c) text += c <= count ? letters[group >> (18 - 6 * c) & 63] : '=';
    }
    return text;
}

/// Numbers as float16, little-endian: three digits of any weight down to 6e-8.
std::string halves(const std::vector<float>& values) {
    std::vector<std::uint8_t> bytes;
    bytes.reserve(2 * values.size());
    for (const float x : values) {
        const std::uint16_t bits = attenta::float16(x).bits;
        bytes.push_back(static_cast<std::uint8_t>(bits & 255));
        bytes.push_back(static_cast<std::uint8_t>(bits >> 8));
    }
    return base64(bytes);
}

Json to_json(const Head& head, bool exact) {
    Json kept = Json::array();
    for (const Head::Kept& k : head.kept) kept.push_back({{"mass", k.mass}, {"tiles", base64(k.tiles)}});
    Json json = {{"layer", head.layer},       {"head", head.head},         {"entropy", head.entropy},
                 {"sink", head.sink},         {"distance", head.distance}, {"strongest", head.strongest},
                 {"received", head.received}, {"mean", halves(head.mean)}, {"kept", kept}};
    if (!exact) json["max"] = halves(head.max);
    return json;
}

Json to_json(const Picture& p) {
    Json overlays = Json::array(), heads = Json::array();
    for (const auto& o : p.overlays) overlays.push_back({{"name", o.name}, {"detail", o.detail}});
    for (const Head& head : p.heads) heads.push_back(to_json(head, p.grid.exact()));
    const Grid& g = p.grid;
    return {{"title", p.title},
            {"note", p.note},
            {"queries", g.queries},
            {"keys", g.keys},
            {"tileQueries", g.tile_queries},
            {"tileKeys", g.tile_keys},
            {"rows", g.rows()},
            {"cols", g.cols()},
            {"firstPosition", p.first_position},
            {"tokens", p.tokens},
            {"layers", p.layers},
            {"headsPerLayer", p.heads_per_layer},
            {"overlays", overlays},
            {"heads", heads}};
}

}  // namespace

std::string page_of(const Picture& picture) {
    const std::string title = cli::escaped_html(picture.title), data = cli::script_json(to_json(picture));
    return cli::filled(page_html, {{"title", title}, {"style", page_css}, {"script", page_js}, {"data", data}});
}

}  // namespace view
