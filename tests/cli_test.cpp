// The program `attenta`, run as its users run it.
#include <attenta/catalog.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "support/catalog.hpp"

namespace {

using namespace attenta_test;
using attenta::CaseResult;
using attenta::TensorFile;
using Json = nlohmann::json;
namespace fs = std::filesystem;

class CliTest : public CatalogTest {};

struct Output {
    int code = -1;
    std::string text;
};

/// ATTENTA_CLI: the program's path, in a cross build behind the words of the emulator's command; quotes between words.
Output attenta_program(const std::string& arguments) {
    Output result;
    FILE* pipe = ::popen(("'" ATTENTA_CLI "' " + arguments + " 2>&1").c_str(), "r");
    char buffer[4096];
    while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) result.text.append(buffer, n);
    const int status = ::pclose(pipe);
    if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
    return result;
}

std::string quoted(const fs::path& path) { return std::string(1, '\'').append(path.string()).append("' "); }

TEST_F(CliTest, RunExitsWithZeroOnlyIfEveryFileIsOk) {
    const auto good = golden_path("softmax", "softmax", "mha_cross");
    TensorFile other = TensorFile::load(good);
    other.tensors.at("out.o").as<float>()[0] += 1;
    other.save(file("wrong.safetensors"));
    other.metadata["mechanism"] = "no_such";
    other.save(file("missing.safetensors"));
    std::ofstream(file("damaged.safetensors")) << "nonsense";

    const Output ok =
        attenta_program("run " + quoted(good) + quoted(golden_path("softmax", "merge_state", "one_part")));
    EXPECT_EQ(ok.code, 0);
    EXPECT_TRUE(ok.text.starts_with("ok      softmax/softmax/mha_cross ")) << ok.text;
    EXPECT_EQ(std::count(ok.text.begin(), ok.text.end(), '\n'), 2);
    const Output wrong = attenta_program("run " + quoted(good) + quoted(file("wrong.safetensors")));
    EXPECT_EQ(wrong.code, 1);
    EXPECT_NE(wrong.text.find("\nFAIL    softmax/softmax/wrong "), std::string::npos) << wrong.text;
    const Output missing = attenta_program("run " + quoted(file("missing.safetensors")));
    EXPECT_EQ(missing.code, 1);
    EXPECT_EQ(missing.text, "missing softmax/no_such/missing\n");
    const Output damaged = attenta_program("run " + quoted(file("damaged.safetensors")) + quoted(good));
    EXPECT_EQ(damaged.code, 2);
    EXPECT_NE(damaged.text.find("damaged.safetensors: not a safetensors file"), std::string::npos) << damaged.text;
    EXPECT_NE(damaged.text.find("ok      softmax/softmax/mha_cross"), std::string::npos) << "the other files still run";
    for (const auto* usage : {"", "run", "frobnicate", "run --bad x", "show no_such"})
        EXPECT_EQ(attenta_program(usage).code, 2) << usage;
    EXPECT_EQ(attenta_program("--help").code, 0);
}

TEST_F(CliTest, RunPrintsJson) {
    std::ofstream(file("damaged")) << "nonsense";
    const Output out = attenta_program("run --json " + quoted(golden_path("softmax", "softmax", "mha_cross")) +
                                       quoted(file("damaged")));
    EXPECT_EQ(out.code, 2);
    const Json json = Json::parse(out.text);
    EXPECT_EQ(json.at(0).at("verdict"), "ok");
    EXPECT_EQ(json.at(0).at("name"), "softmax/softmax/mha_cross");
    EXPECT_LT(json.at(0).at("max_abs").get<double>(), 1e-4);
    EXPECT_EQ(json.at(1).at("verdict"), "error");
}

TEST_F(CliTest, RunOutWritesTheResults) {
    TensorFile input = softmax_case("softmax", "mqa_window_softcap_sink");
    const CaseResult want = attenta::run_case(input, "case");
    input.tensors.erase("out.o");
    input.tensors.erase("out.lse");
    input.save(file("in.safetensors"));
    const Output out = attenta_program("run --out " + quoted(file("out.safetensors")) + quoted(file("in.safetensors")));
    EXPECT_EQ(out.code, 0);
    EXPECT_NE(out.text.find("not compared"), std::string::npos) << out.text;
    const TensorFile got = TensorFile::load(file("out.safetensors"));
    EXPECT_EQ(got.metadata, input.metadata);
    ASSERT_EQ(got.tensors.size(), want.outputs.size());
    for (const auto& [name, tensor] : want.outputs)
        EXPECT_EQ(got.tensors.at("out." + name).bytes, tensor.bytes) << name;

    const std::string in = quoted(file("in.safetensors"));
    EXPECT_EQ(attenta_program("run --out " + in + in).code, 2) << "FILE is not overwritten";
    EXPECT_EQ(attenta_program("run --out " + quoted(file("out2")) + in + in).code, 2) << "one FILE only";
}

TEST_F(CliTest, ListShowAndInfo) {
    const Json list = Json::parse(attenta_program("list --json").text);
    ASSERT_EQ(list.size(), attenta::mechanisms().size());
    EXPECT_EQ(list.at(0).at("name"), attenta::mechanisms()[0].name);
    EXPECT_EQ(list.at(0).at("parameters").at(0).at("default"), nullptr);
    const std::string table = attenta_program("list --markdown").text;
    EXPECT_TRUE(table.starts_with("| mechanism | family |")) << table;
    EXPECT_NE(table.find("\n| `softmax` | softmax | "), std::string::npos) << table;
    EXPECT_NE(attenta_program("list").text.find("softmax/merge_state"), std::string::npos);
    EXPECT_NE(attenta_program("show softmax/softmax").text.find("window_left"), std::string::npos);

    const Output info = attenta_program("info --json");
    EXPECT_EQ(info.code, 0);
    const Json json = Json::parse(info.text);
    EXPECT_EQ(json.at("version"), ATTENTA_VERSION);
    EXPECT_NE(attenta_program("info").text.find(json.at("chosen").get<std::string>() + " "), std::string::npos);
    EXPECT_NE(attenta_program("info").text.find("chosen ("), std::string::npos);
}

}  // namespace
