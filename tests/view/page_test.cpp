// A page holds its picture, whatever is in its texts, and nothing outside itself.
#include "view.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <iterator>

#include "page_file.hpp"
#include "support/catalog.hpp"

namespace {

using namespace attenta_test;
using Json = nlohmann::json;
namespace fs = std::filesystem;

class ViewPageTest : public testing::Test {};
class ViewPageFileTest : public CatalogTest {};

/// One head of 2 × 2 pairs.
view::Picture small_picture() {
    view::Picture p;
    p.grid = {.queries = 2, .keys = 2};
    p.layers = {0};
    p.heads_per_layer = 1;
    p.heads = {{.max = {1, 0, 0.25f, 0.75f}, .mean = {1, 0, 0.25f, 0.75f}, .kept = {}}};
    return p;
}

std::string between(const std::string& text, const std::string& begin, const std::string& end) {
    const std::size_t from = text.find(begin) + begin.size();
    return text.substr(from, text.find(end, from) - from);
}

/// What a browser takes for the data: a script ends at the first </script, whatever is around it.
Json data_of(const std::string& page) {
    return Json::parse(between(page, R"(<script type="application/json" id="data">)", "</script"));
}

TEST_F(ViewPageTest, TextsSurviveWhateverIsInThem) {
    view::Picture p = small_picture();
    const std::string evil = "</script><!--<script>\"'&\\{{data}}\u2028\n";
    p.title = p.note = evil;
    p.tokens = {evil, "\xFF"};
    p.overlays = {{evil, evil}};
    p.heads[0].kept = {{0.5, {255, 0, 7, 1}}};
    const std::string page = view::page_of(p);
    const Json data = data_of(page);
    EXPECT_EQ(data.at("title"), evil);
    EXPECT_EQ(data.at("note"), evil);
    EXPECT_EQ(data.at("tokens").at(0), evil);
    EXPECT_EQ(data.at("tokens").at(1), "\uFFFD") << "bytes that are no UTF-8";
    EXPECT_EQ(data.at("overlays").at(0).at("detail"), evil);
    EXPECT_EQ(data.at("heads").at(0).at("kept").at(0).at("tiles"), "/wAHAQ==");
    EXPECT_EQ(between(page, "<h1>", "</h1>"), "&lt;/script&gt;&lt;!--&lt;script&gt;&quot;&#39;&amp;\\{{data}}\u2028\n");
}

TEST_F(ViewPageTest, WeightsAreFloat16) {
    view::Picture p = small_picture();
    p.heads[0].mean = {1, 0, 0.25f, NAN};
    p.heads[0].entropy = NAN;
    const Json head = data_of(view::page_of(p)).at("heads").at(0);
    EXPECT_EQ(head.at("mean"), "ADwAAAA0AH4=") << "0x3C00, 0, 0x3400, 0x7E00";
    EXPECT_TRUE(head.at("entropy").is_null());
    EXPECT_FALSE(head.contains("max")) << "of tiles alone";
    p.grid = {.queries = 3, .keys = 4, .tile_queries = 2, .tile_keys = 2};
    EXPECT_EQ(data_of(view::page_of(p)).at("heads").at(0).at("max"), "ADwAAAA0ADo=");
}

TEST_F(ViewPageTest, StandsAlone) {
    const std::string page = view::page_of(small_picture());
    for (const char* outside : {"http:", "https:", "src=", "href=", "import ", "fetch(", "url("})
        EXPECT_EQ(page.find(outside), std::string::npos) << outside;
    EXPECT_LT(page.size(), 64u << 10) << "without data";
}

std::string content(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

TEST_F(ViewPageFileTest, AppearsWholeOrNotAtAll) {
    const fs::path path = file("page.html");
    const auto files = [&] { return std::distance(fs::directory_iterator(path.parent_path()), {}); };
    {
        cli::PageFile page(path);
        EXPECT_FALSE(fs::exists(path));
    }
    EXPECT_EQ(files(), 0) << "nothing stays of a page that was not written";
    {
        cli::PageFile page(path);
        page.write("one");
    }
    EXPECT_EQ(content(path), "one");
    {
        cli::PageFile page(path);
        EXPECT_EQ(content(path), "one");
    }
    EXPECT_EQ(content(path), "one");
    fs::create_symlink(path, file("link.html"));
    cli::PageFile(file("link.html")).write("two");
    EXPECT_TRUE(fs::is_symlink(file("link.html")));
    EXPECT_EQ(content(path), "two");
    EXPECT_EQ(files(), 2);
}

TEST_F(ViewPageFileTest, RefusesPathsThatCannotBeWritten) {
    const auto message = [&](const fs::path& path) {
        const std::string text = message_of([&] { cli::PageFile page(path); });
        return text.substr(text.rfind(": ") + 2);
    };
    EXPECT_EQ(message(file("")), "is a folder");
    EXPECT_EQ(message(file("no_such/page.html")), "cannot be written");
    EXPECT_EQ(message("/dev/null"), "is not a regular file");
    EXPECT_EQ(message(""), "cannot be written");
}

}  // namespace
