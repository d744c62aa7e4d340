// `attenta view`, run as its users run it.
#include <attenta/catalog.hpp>

#include <gtest/gtest.h>

#include <sys/wait.h>

#include <cstdio>
#include <fstream>
#include <iterator>

#include "support/catalog.hpp"

namespace {

using namespace attenta_test;
namespace fs = std::filesystem;

class ViewCliTest : public CatalogTest {
protected:
    struct Output {
        int code = -1;
        std::string text;
    };

    /// ATTENTA_CLI: as in the tests of the catalog.
    Output view(const std::string& arguments) const { return view(arguments, page()); }
    Output view(const std::string& arguments, const fs::path& out) const {
        Output result;
        const std::string command = "'" ATTENTA_CLI "' view --out '" + out.string() + "' " + arguments + " 2>&1";
        FILE* pipe = ::popen(command.c_str(), "r");
        char buffer[4096];
        while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) result.text.append(buffer, n);
        const int status = ::pclose(pipe);
        if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
        return result;
    }
    fs::path page() const { return file("page.html"); }
    std::string content() const {
        std::ifstream stream(page(), std::ios::binary);
        return {std::istreambuf_iterator<char>(stream), {}};
    }
};

std::string quoted(const fs::path& path) { return std::string(1, '\'').append(path.string()).append("' "); }

TEST_F(ViewCliTest, WritesThePageOfACase) {
    const Output out = view(quoted(golden_path("sparse", "quest", "several_queries")) + "--selection strided:stride=4");
    EXPECT_EQ(out.code, 0);
    EXPECT_TRUE(out.text.starts_with(page().string() + ": 1 × 2 heads, 12 × 58 weights in 12 × 58 tiles, "))
        << out.text;
    EXPECT_TRUE(content().starts_with("<!DOCTYPE html>"));
    EXPECT_TRUE(content().ends_with("</html>\n"));
}

TEST_F(ViewCliTest, ReadsPromptsForTheBundledModel) {
    std::ofstream(file("prompt.txt")) << "get kavo=";
    const Output file_prompt = view("--policy h2o,snapkv --budget 4 --file " + quoted(file("prompt.txt")));
    EXPECT_EQ(file_prompt.code, 0) << file_prompt.text;
    EXPECT_NE(file_prompt.text.find(": 3 × 4 heads, 9 × 9 weights in 9 × 9 tiles, "), std::string::npos)
        << file_prompt.text;
    const std::string first = content();
    EXPECT_EQ(view("--policy h2o,snapkv --budget 4 --prompt get\\ kavo=").code, 0);
    EXPECT_EQ(content(), first);
    EXPECT_EQ(view("--policy h2o --policy snapkv --budget 4 --prompt-ids 103,101,116,32,107,97,118,111,61").code, 0);
    EXPECT_EQ(content(), first);
    EXPECT_EQ(view("").code, 0);
    EXPECT_NE(content().find("<h1>The bundled model</h1>"), std::string::npos);
    EXPECT_LT(content().size(), 5u << 20);
}

TEST_F(ViewCliTest, ErrorsSayWhatIsWrongAndLeaveTheOldPage) {
    std::ofstream(page()) << "old";
    std::ofstream(file("damaged.safetensors")) << "nonsense";
    std::ofstream(file("empty.txt"));
    fs::create_directories(file("no_model"));
    fs::copy(fs::path(ATTENTA_MODEL) / "config.json", file("no_model/config.json"));
    const std::string quest = quoted(golden_path("sparse", "quest", "several_queries"));

    struct Bad {
        std::string arguments, says;
    };
    const std::vector<Bad> bad = {
        {quoted(file("no_such.safetensors")), "no_such.safetensors: "},
        {quoted(file("damaged.safetensors")), "damaged.safetensors: not a safetensors file"},
        {quoted(golden_path("sparse", "routing", "shared_causal")),
         "has nothing to view, needs the tensors in.q and in.k"},
        {quoted(file("no_model")), "model.safetensors"},
        {quoted(file("no_model/..")), "config.json"},
        {"--policy no_such", "--policy: no_such not in {"},
        {"--policy full", "--policy: full not in {"},
        {"--policy h2o --budget 0", "--budget: Value 0 not in range 1 to "},
        {"--budget 4", "--budget requires --policy"},
        {"--policy h2o --prefill 100000", "policy h2o reads 100000 tokens at once, needs 1 to 160"},
        {"--selection no_such", "there is no selection 'no_such', there are quest, "},
        {"--selection quest:pages=2", "selection quest has no parameter 'pages'"},
        {"--layers 3", "there is no layer 3, there are 0 to 2"},
        {"--pool 5000", "pool is 5000, needs 1 to 4096"},
        {"--prompt ''", "--prompt: is empty"},
        {"''", "FILE|MODEL: is empty"},
        {"--out ''", "--out: is empty"},
        {"--file " + quoted(file("empty.txt")), "the prompt has 0 tokens"},
        {"--file " + quoted(file("no_such.txt")), "no_such.txt: cannot be read"},
        {"--file " + quoted(file("")), ": cannot be read"},
        {"--prompt a --file " + quoted(file("empty.txt")), "excludes"},
        {"--prompt-ids 1,999", "999"},
        {"--prompt a " + quest, "--prompt, --file and --prompt-ids are for models"},
        {"--set causal=true", "--set is for cases"},
        {"--set causal " + quest, "--set is 'causal', needs NAME=VALUE"},
        {"--set scale=1 --set scale=2 " + quest, "--set names 'scale' twice"},
        {"--policy h2o " + quest, "policy h2o needs a query for each key, there are 12 queries and 58 keys"},
        {"--policy h2o " + quoted(golden_path("analysis", "head_distance", "text")), "the file has weights alone"},
    };
    for (const Bad& b : bad) {
        const Output out = view(b.arguments);
        EXPECT_EQ(out.code, 2) << b.arguments;
        EXPECT_NE(out.text.find(b.says), std::string::npos) << b.arguments << ": " << out.text;
        EXPECT_EQ(content(), "old") << b.arguments;
    }
    for (const auto& entry : fs::directory_iterator(page().parent_path()))
        EXPECT_NE(entry.path().extension(), ".part") << "half a page is left";
}

TEST_F(ViewCliTest, RefusesPathsThatCannotBeWritten) {
    const std::string quest = quoted(golden_path("sparse", "quest", "several_queries"));
    fs::copy(golden_path("sparse", "quest", "several_queries"), file("case.safetensors"));
    const auto size = fs::file_size(file("case.safetensors"));
    fs::create_directory(page());
    EXPECT_EQ(view(quest).code, 2);
    EXPECT_NE(view(quest).text.find("page.html: is a folder"), std::string::npos);
    const Output itself = view(quoted(file("case.safetensors")), file("case.safetensors"));
    EXPECT_EQ(itself.code, 2);
    EXPECT_NE(itself.text.find("--out would overwrite "), std::string::npos) << itself.text;
    EXPECT_EQ(fs::file_size(file("case.safetensors")), size);
}

}  // namespace
