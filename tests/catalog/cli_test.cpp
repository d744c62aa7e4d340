// The program `attenta`, run as its users run it.
#include <attenta/catalog.hpp>
#include <attenta/engine/common/tuning.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>

#include "program.hpp"
#include "support/catalog.hpp"

namespace {

using namespace attenta_test;
using attenta::CaseResult;
using attenta::TensorFile;
using Json = nlohmann::json;
namespace fs = std::filesystem;

class CliTest : public CatalogTest {};

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
    EXPECT_TRUE(out.text.starts_with("ran     softmax/softmax/in ")) << out.text;
    EXPECT_NE(out.text.find("nothing to compare with: lse [4, 33], o [4, 33, 24]"), std::string::npos) << out.text;
    const TensorFile got = TensorFile::load(file("out.safetensors"));
    EXPECT_EQ(got.metadata, input.metadata);
    ASSERT_EQ(got.tensors.size(), want.outputs.size());
    for (const auto& [name, tensor] : want.outputs)
        EXPECT_EQ(got.tensors.at("out." + name).bytes, tensor.bytes) << name;

    const std::string in = quoted(file("in.safetensors"));
    EXPECT_EQ(attenta_program("run --out " + in + in).code, 2) << "FILE is not overwritten";
    EXPECT_EQ(attenta_program("run --out " + quoted(file("out2")) + in + in).code, 2) << "one FILE only";
}

TEST_F(CliTest, RunNamesWhatIsNotCompared) {
    TensorFile input = softmax_case("softmax", "mha_cross");
    input.tensors.erase("out.lse");
    input.save(file("in"));
    const Output text = attenta_program("run " + quoted(file("in")));
    EXPECT_EQ(text.code, 0);
    EXPECT_TRUE(text.text.starts_with("ok ") && text.text.ends_with("  not compared: lse\n")) << text.text;
    const Json json = Json::parse(attenta_program("run --json " + quoted(file("in"))).text);
    EXPECT_EQ(json.at(0).at("not_compared"), Json({"lse"}));
    EXPECT_EQ(json.at(0).at("outputs").at("lse"), Json({3, 17}));
}

TEST_F(CliTest, RunTakesTensorsWithoutMetadata) {
    const TensorFile good = softmax_case("softmax", "gqa_causal_chunk");
    TensorFile dump;
    for (const auto* name : {"q", "k", "v"}) dump.tensors[name] = good.tensors.at("in." + std::string(name));
    dump.tensors["o"] = good.tensors.at("out.o");
    dump.save(file("dump"));
    const auto run = [&](const std::string& options) {
        return attenta_program("run " + options + quoted(file("dump")));
    };
    const Output ok = run("--mechanism softmax --set causal=true --set scale=0.3 --out " + quoted(file("out")));
    EXPECT_EQ(ok.code, 0) << ok.text;
    EXPECT_TRUE(ok.text.starts_with("ok      softmax/softmax/dump ")) << ok.text;
    EXPECT_EQ(TensorFile::load(file("out")).metadata,
              (std::map<std::string, std::string>{
                  {"family", "softmax"}, {"mechanism", "softmax"}, {"params", R"({"causal":true,"scale":0.3})"}}));
    EXPECT_EQ(run("--mechanism softmax/softmax --set scale=0.3 --set causal=true --set softcap=0 ").code, 0);
    EXPECT_EQ(run("--mechanism softmax ").code, 1) << "not causal: other results";
    EXPECT_EQ(run("--mechanism softmax --atol 10 ").code, 0);
    const auto refused = [&](const std::string& options, const std::string& reason) {
        const Output output = run(options);
        EXPECT_EQ(output.code, 2) << options;
        EXPECT_NE(output.text.find(reason), std::string::npos) << output.text << "expected: " << reason;
    };
    refused("", "its metadata has no 'family', and no mechanism was given");
    refused("--mechanism no_such ", "no mechanism 'no_such', see `attenta list`");
    refused("--mechanism softmax --set causal=yes ", "softmax: parameter 'causal' is \"yes\", expected true or false");
    refused("--mechanism softmax --set causal ", "--set is 'causal', needs NAME=VALUE");
    refused("--mechanism softmax --set =1 ", "--set is '=1', needs NAME=VALUE");
    refused("--mechanism softmax --set prefix=1 --set prefix=2 ", "--set names 'prefix' twice");
    refused("--mechanism softmax --atol x ", "metadata 'atol' is 'x', expected a finite number >= 0");
}

TEST_F(CliTest, OutputThatCannotBeWrittenIsAnError) {
    if (!fs::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
    const std::string good = quoted(golden_path("softmax", "softmax", "mha_cross"));
    for (const std::string& command :
         {std::string("list"), std::string("list --json"), std::string("list --markdown"), std::string("show softmax"),
          std::string("show --json softmax"), std::string("info"), std::string("info --json"), "run " + good,
          "run --json " + good, std::string("--help"), std::string("--version")}) {
        const Output out = attenta_program(command, "2>&1 >/dev/full");
        EXPECT_EQ(out.code, 2) << command;
        EXPECT_EQ(out.text, "attenta: the standard output cannot be written\n") << command;
    }
    const Output out = attenta_program("run --out /dev/full " + good);
    EXPECT_EQ(out.code, 2);
    EXPECT_NE(out.text.find("/dev/full: cannot be written"), std::string::npos) << out.text;
    EXPECT_EQ(out.text.find("ok "), std::string::npos) << out.text;
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
    const std::string text = attenta_program("info").text;
    EXPECT_NE(text.find("chosen ("), std::string::npos);

    const attenta::Tuning& tuning = attenta::tuning();
    EXPECT_EQ(json.at("tuning").at("name"), tuning.name);
    EXPECT_NE(text.find("tuning     " + std::string(tuning.name) + "\n"), std::string::npos) << text;
    std::size_t i = 0;
    fields(
        [&](const char* name, auto value, const char* unit) {
            const Json& field = json.at("tuning").at("fields").at(i++);
            EXPECT_EQ(field, Json({{"name", name}, {"value", value}, {"unit", unit}}));
            EXPECT_NE(text.find("  " + std::string(name) + " "), std::string::npos) << text;
        },
        tuning);
    EXPECT_EQ(json.at("tuning").at("fields").size(), i);
    EXPECT_NE(text.find("few.prefetch_distance       " + std::to_string(tuning.few.prefetch_distance) + " bytes\n"),
              std::string::npos)
        << text;
}

}  // namespace
