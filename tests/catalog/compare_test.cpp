// `attenta compare`, run as its users run it.
#include <attenta/catalog.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>

#include "program.hpp"
#include "support/catalog.hpp"

namespace {

using namespace attenta_test;
using attenta::TensorFile;
using attenta::TensorType;
using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::int64_t tokens = 40, dim = 8, value_dim = 4, budget = 16;

std::string text_of(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// The row of "family/name".
Json row_of(const Json& json, const std::string& name) {
    for (const Json& row : json.at("mechanisms"))
        if (row.at("family").get<std::string>() + "/" + row.at("name").get<std::string>() == name) return row;
    ADD_FAILURE() << "no row " << name;
    return {};
}

class CliCompareTest : public CatalogTest {
protected:
    /// Queries of two heads that see all keys alike, and a key head whose values count the tokens.
    void save_uniform(const std::string& name) const {
        std::vector<float> v;
        for (std::int64_t i = 0; i < tokens * value_dim; ++i) v.push_back(static_cast<float>(i / value_dim));
        TensorFile f;
        f.tensors["zeros"] = attenta::Tensor::zeros(TensorType::f32, {2, tokens, dim});
        f.tensors["k"] = attenta::Tensor::zeros(TensorType::f32, {1, 1, tokens, dim});
        f.tensors["v"] = tensor<float>(TensorType::f32, {1, tokens, value_dim}, v);
        f.save(file(name));
    }
    std::string tensor_of_file(const char* name) const { return quoted(fs::path(file("qkv").string() + ":" + name)); }
    std::string uniform_files() const {
        save_uniform("qkv");
        return "--q " + tensor_of_file("zeros") + "--k " + quoted(file("qkv")) + "--v " + quoted(file("qkv"));
    }
};

TEST_F(CliCompareTest, EveryMechanismHasARowAndTheSameOneOnThePage) {
    const Output out =
        attenta_program("compare --context 64 --json --html " + quoted(file("page.html")), "2>/dev/null");
    ASSERT_EQ(out.code, 0);
    const Json json = Json::parse(out.text);
    const auto mechanisms = attenta::mechanisms();
    ASSERT_EQ(json.at("mechanisms").size(), mechanisms.size());
    std::size_t timed = 0;
    for (std::size_t i = 0; i < mechanisms.size(); ++i) {
        const Json& row = json.at("mechanisms").at(i);
        EXPECT_EQ(row.at("name"), mechanisms[i].name);
        EXPECT_EQ(row.at("family"), mechanisms[i].family);
        const Json& last = row.at("times").back();
        const bool prefills = last.at("prefill_ms").is_number(), decodes = last.at("decode_us").is_number();
        timed += prefills || decodes;
        EXPECT_TRUE((prefills && decodes) || row.at("reason").is_string()) << row.dump(2);
    }
    EXPECT_GT(timed, mechanisms.size() * 9 / 10) << "of most there is a time";

    const std::string page = text_of(file("page.html")), open = R"(<script type="application/json" id="data">)";
    const std::size_t begin = page.find(open) + open.size();
    EXPECT_EQ(Json::parse(page.substr(begin, page.find("</script>", begin) - begin)), json);
    EXPECT_EQ(page.find("{{"), std::string::npos) << "all parts are in their places";
    for (const char* link : {"src=", "href=", "@import", "url(", "fetch("})
        EXPECT_EQ(page.find(link), std::string::npos) << "a page of one file: " << link;
}

TEST_F(CliCompareTest, WhatReadsAllKeysIsExactAndWhatReadsFewIsNot) {
    const std::string of =
        " --context 96 --json --mechanism softmax --mechanism quest --mechanism knn_memory --mechanism h2o "
        "--mechanism streaming --mechanism kernel_linear";
    const Json all = Json::parse(attenta_program("compare --budget 96" + of, "2>/dev/null").text);
    const Json few = Json::parse(attenta_program("compare --budget 8" + of, "2>/dev/null").text);
    for (const Json* json : {&all, &few}) {
        const Json row = row_of(*json, "softmax/softmax");
        EXPECT_EQ(row.at("prefill").at("error"), 0);
        EXPECT_EQ(row.at("prefill").at("mass"), 1);
        EXPECT_EQ(row.at("decode").at("error"), 0);
    }
    for (const char* name : {"sparse/quest", "sparse/knn_memory", "kv/h2o", "kv/streaming"}) {
        const Json exact = row_of(all, name).at("decode"), rough = row_of(few, name).at("decode");
        EXPECT_LT(exact.at("error").get<double>(), 1e-5) << name;
        EXPECT_NEAR(exact.at("mass").get<double>(), 1, 1e-5) << name;
        EXPECT_GT(rough.at("error").get<double>(), 1e-4) << name;
        EXPECT_LT(rough.at("mass").get<double>(), 0.9999) << name;
    }
    const Json linear = row_of(all, "linear/kernel_linear");
    EXPECT_TRUE(linear.at("prefill").at("error").is_null()) << "it is no approximation of softmax";
    EXPECT_TRUE(linear.at("bytes_per_token").is_null());
    // A state [D, Dv] and a sum of keys [D] for each of the two key heads of width 32.
    EXPECT_EQ(linear.at("bytes_fixed"), 2 * (32 * 32 + 32) * 4);
}

TEST_F(CliCompareTest, FilesGiveTheTensorsAndErrorsAreThoseOfTheDefinition) {
    const Output out = attenta_program(
        "compare --json --budget 16 --mechanism csr --mechanism softmax " + uniform_files(), "2>/dev/null");
    ASSERT_EQ(out.code, 0);
    const Json json = Json::parse(out.text);
    const Json shape = json.at("shape");
    EXPECT_EQ(shape.at("query_heads"), 2);
    EXPECT_EQ(shape.at("kv_heads"), 1);
    EXPECT_EQ(shape.at("dim"), dim);
    EXPECT_EQ(shape.at("value_dim"), value_dim);
    EXPECT_EQ(shape.at("context"), tokens);

    // All keys weigh the same: a mean of the tokens' numbers, of all of them or of the last of the budget.
    double off = 0, size = 0, mass = 0;
    for (std::int64_t i = 0; i < tokens; ++i) {
        const auto n = static_cast<double>(i + 1), read = static_cast<double>(std::min(i + 1, budget));
        const double exact = (n - 1) / 2, got = n - 1 - (read - 1) / 2;
        off += (got - exact) * (got - exact);
        size += exact * exact;
        mass += read / n / static_cast<double>(tokens);
    }
    const Json csr = row_of(json, "sparse/csr").at("prefill"), softmax = row_of(json, "softmax/softmax");
    EXPECT_NEAR(csr.at("error").get<double>(), std::sqrt(off / size), 1e-5);
    EXPECT_NEAR(csr.at("mass").get<double>(), mass, 1e-5);
    EXPECT_EQ(softmax.at("bytes_per_token"), (dim + value_dim) * 4);
    EXPECT_EQ(softmax.at("prefill").at("flops"), 2.0 * 2 * (tokens * (tokens + 1) / 2) * (dim + value_dim));

    const Json cut = Json::parse(
        attenta_program("compare --json --context 24 --mechanism csr " + uniform_files(), "2>/dev/null").text);
    EXPECT_EQ(cut.at("shape").at("context"), 24);
    EXPECT_EQ(cut.at("shape").at("budget"), 3);
}

TEST_F(CliCompareTest, ATableForPeopleAndNoProgressInAFile) {
    const Output out = attenta_program("compare --context 64 --family latent --mechanism softmax/softmax");
    EXPECT_EQ(out.code, 0);
    for (const char* word : {"layer 1 of the bundled model, 64 tokens", "prefill ms", "\nsoftmax/softmax ",
                             "\nlatent/mla ", "512 B/token", "100.0%"})
        EXPECT_NE(out.text.find(word), std::string::npos) << word << " in\n" << out.text;
    EXPECT_EQ(out.text.find('\r'), std::string::npos);
    EXPECT_EQ(out.text.find("\nsparse/"), std::string::npos);
}

TEST_F(CliCompareTest, BadInputIsRefusedBeforeAnythingIsWritten) {
    save_uniform("qkv");
    TensorFile only_v;
    only_v.tensors["v"] = attenta::Tensor::zeros(TensorType::f32, {1, tokens, dim});
    only_v.save(file("only_v"));
    std::ofstream(file("damaged")) << "nonsense";
    std::ofstream(file("page.html")) << "of yesterday";
    const std::string qkv = quoted(file("qkv")), damaged = quoted(file("damaged"));
    const std::string files = "--q " + tensor_of_file("zeros") + "--k " + qkv + "--v " + qkv;
    struct Bad {
        std::string arguments, message;
    };
    for (const Bad& bad : {
             Bad{"--context 0", "--context is 0, needs 1 or more"},
             {"--context 1000000000000", "context is 1000000000000, its tensors need "},
             {"--context much", "--context"},
             {"--context 41 " + files, "context is 41, the files have 40 tokens"},
             {"--heads 14", "heads is 14, the model has 12"},
             {"--heads 3", "heads is 3, needs a multiple of 2"},
             {"--heads 0", "--heads is 0, needs 1 or more"},
             {"--heads 4 " + files, "heads is 4, needs a multiple of 2 up to the 2 of q"},
             {"--budget 0", "--budget is 0, needs 1 or more"},
             {"--budget 65 --context 64", "--budget is 65, needs at most the context's 64"},
             {"--threads 0", "--threads is 0, needs 1 or more"},
             {"--family nonsense", "no family 'nonsense'"},
             {"--mechanism nonsense", "no mechanism 'nonsense'"},
             {"--q " + qkv + "--k " + qkv, "--v is missing: --q, --k and --v go together"},
             {"--q " + damaged + "--k " + qkv + "--v " + qkv, "damaged: not a safetensors file"},
             {"--q /no/such/file --k " + qkv + "--v " + qkv, "/no/such/file"},
             {"--q " + tensor_of_file("nope") + "--k " + qkv + "--v " + qkv, "has no tensor 'nope'"},
             {"--q " + qkv + "--k " + qkv + "--v " + qkv, "has no tensor 'q'; name one as FILE:TENSOR"},
             {"--q " + tensor_of_file("zeros") + "--k " + quoted(file("only_v")) + "--v " + qkv,
              "only_v has no tensor 'k'; name one as FILE:TENSOR"},
             {"--model /no/such/model", "/no/such/model"},
             {"--model " + quoted(file(".")) + files, "excludes"},
             {"--q ''", "--q: is empty"},
             {"--family ''", "--family: is empty"},
         }) {
        const Output out = attenta_program("compare --html " + quoted(file("page.html")) + bad.arguments);
        EXPECT_EQ(out.code, 2) << bad.arguments;
        EXPECT_NE(out.text.find(bad.message), std::string::npos) << bad.arguments << ": " << out.text;
        EXPECT_EQ(out.text.find("softmax/softmax"), std::string::npos) << bad.arguments;
        EXPECT_EQ(text_of(file("page.html")), "of yesterday") << bad.arguments;
    }
    for (const fs::path& place : {fs::path("/no/such/folder/page.html"), file(".")}) {
        const Output out = attenta_program("compare --html " + quoted(place));
        EXPECT_EQ(out.code, 2);
        EXPECT_NE(out.text.find("--html " + place.string()), std::string::npos) << out.text;
    }
    const auto left = std::distance(fs::directory_iterator(file(".")), fs::directory_iterator());
    EXPECT_EQ(left, 4) << "nothing half-written stays";
}

}  // namespace
