// The rows of the catalog, their arguments, and the comparison of results.
#include <attenta/catalog.hpp>

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>

#include "support/catalog.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace {

using namespace attenta_test;
using attenta::CaseResult;
using attenta::Error;
using attenta::Tensor;
using attenta::TensorFile;
using attenta::TensorType;
using Verdict = CaseResult::Verdict;

constexpr float infinity = std::numeric_limits<float>::infinity();

TEST(CatalogRows, AreFoundAndDescribed) {
    for (const auto& m : attenta::mechanisms()) {
        EXPECT_EQ(attenta::find_mechanism(m.family, m.name), &m) << "unique name " << m.name;
        for (const std::string_view text :
             {m.name, m.family, m.summary, m.source, m.cost, std::string_view(m.inputs), std::string_view(m.outputs)})
            EXPECT_FALSE(text.empty()) << m.name;
        EXPECT_TRUE(m.call && m.parameters);
    }
    EXPECT_EQ(attenta::find_mechanism("softmax", "no_such"), nullptr);
    const auto parameters = attenta::find_mechanism("softmax", "softmax")->parameters();
    EXPECT_EQ(parameters[0].name, "scale");
    EXPECT_EQ(parameters[0].type, "float or null");
    EXPECT_EQ(parameters[0].default_value, "null");
    EXPECT_EQ(parameters[1].type, "bool");
    EXPECT_EQ(parameters[3].default_value, "-1");
}

TEST(CatalogRows, DescribeStringsAndLists) {
    const auto described = [](const char* mechanism, std::string_view parameter, const char* family = "linear") {
        for (const auto& p : attenta::find_mechanism(family, mechanism)->parameters())
            if (p.name == parameter) return std::string(p.type) + ", default " + p.default_value;
        return std::string("(no such parameter)");
    };
    EXPECT_EQ(described("kernel_linear", "feature"), "string, default \"elu1\"");
    EXPECT_EQ(described("retention", "score_norm"), "string, default \"none\"");
    EXPECT_EQ(described("performer", "normalize_data"), "bool or null, default null");
    EXPECT_EQ(described("mamba2", "dt_limit"), "2 floats or null, default null");
    EXPECT_EQ(described("local_global", "dilation", "sparse"), "int or list, default 1");
}

/// All golden cases of all mechanisms that there are.
TEST(RunCase, GoldenCasesAreOkOnEveryIsa) {
    on_every_isa([](attenta::Context& context) {
        int cases = 0;
        for (const attenta::Mechanism& m : attenta::mechanisms()) {
            const std::string family(m.family), mechanism(m.name);
            for (const auto& path : golden_cases(family, mechanism)) {
                const CaseResult r = attenta::run_case(TensorFile::load(path), path.stem().string(), context);
                EXPECT_EQ(r.verdict, Verdict::ok) << r.name << ": " << r.reason;
                // A state is given with all that belongs to it, for others to go on from.
                const std::set<std::string> of_states{"state",     "norm_state", "count", "key_max",
                                                      "last_gate", "log_sum",    "lse"};
                for (const std::string& output : r.not_compared)
                    EXPECT_TRUE(of_states.contains(output)) << r.name << " has no " << output;
                EXPECT_EQ(r.name, family + "/" + mechanism + "/" + path.stem().string());
                ++cases;
            }
        }
        EXPECT_GE(cases, 293);
    });
}

TEST(RunCase, OptionalOutputsMayBeLeftOut) {
    int rows = 0;
    for (const attenta::Mechanism& m : attenta::mechanisms()) {
        if (m.outputs.find('(') == std::string::npos) continue;
        ++rows;
        for (const auto& path : golden_cases(std::string(m.family), std::string(m.name))) {
            const TensorFile file = TensorFile::load(path);
            attenta::Tensors inputs;
            for (const auto& [name, tensor] : file.tensors)
                if (name.starts_with("in.")) inputs.emplace(name.substr(3), tensor);
            const std::string parameters = file.metadata.at("params");
            const attenta::Tensors all = m.run({inputs, parameters}), fewer = m.run({inputs, parameters, false});
            for (const auto& [name, tensor] : all) {
                const bool is_optional = m.outputs.find("(" + name + " [") != std::string::npos;
                ASSERT_EQ(fewer.contains(name), !is_optional) << m.name << ": " << name;
                if (is_optional) continue;
                EXPECT_EQ(fewer.at(name).bytes, tensor.bytes) << m.name << ": " << name;
            }
        }
    }
    EXPECT_GE(rows, 10);
}

TEST(RunCase, OtherOutputsFailWithAReason) {
    const TensorFile good = softmax_case("softmax", "bias_mask_empty_rows");
    const auto fails = [&](auto&& edit, const std::string& reason, bool finite = false) {
        TensorFile bad = good;
        edit(bad.tensors);
        const CaseResult r = attenta::run_case(bad, "case");
        EXPECT_EQ(r.verdict, Verdict::fail) << reason;
        EXPECT_NE(r.reason.find(reason), std::string::npos) << r.reason << "\nexpected: " << reason;
        EXPECT_EQ(std::isfinite(r.max_abs), finite) << reason;
    };
    const auto lse = [](attenta::Tensors& t) { return t.at("out.lse").as<float>(); };
    ASSERT_EQ(good.tensors.at("out.lse").as<float>()[3], -infinity);
    fails([&](auto& t) { t.at("out.o").template as<float>()[10] += 0.01f; },
          "output 'o' has 1 of 182 elements wrong, worst [0, 1, 3]", true);
    fails([&](auto& t) { lse(t)[3] = -1e30f; },
          "output 'lse' has 1 of 26 elements wrong, worst [0, 3]: -inf, expected -1e+30");
    fails([&](auto& t) { lse(t)[3] = infinity; }, "-inf, expected inf");
    fails([&](auto& t) { lse(t)[4] = -infinity; }, "expected -inf");
    fails([&](auto& t) { lse(t)[4] = std::nanf(""); }, "expected nan");
    fails([&](auto& t) { t.at("out.lse").shape = {26}; }, "output 'lse' has the shape [2, 13], expected [26]");
    fails(
        [&](auto& t) {
            t["out.lse"] = Tensor::zeros(TensorType::i64, {2, 13});
        },
        "output 'lse' is F32, expected I64");
    fails([&](auto& t) { t["out.extra"] = t["out.o"]; }, "output 'extra' is missing");
}

TEST(RunCase, ToleranceIsThatOfTheFile) {
    TensorFile file = softmax_case("softmax", "mha_cross");
    for (float& x : file.tensors.at("out.o").as<float>()) x += 0.01f;
    EXPECT_EQ(attenta::run_case(file, "case").verdict, Verdict::fail);
    file.metadata["atol"] = "0.011";
    EXPECT_EQ(attenta::run_case(file, "case").verdict, Verdict::ok);
    for (const auto* bad : {"", "x", "-1", "nan", "inf", "1e-5 "}) {
        file.metadata["atol"] = bad;
        EXPECT_THROW(attenta::run_case(file, "case"), Error) << bad;
    }
}

TEST(RunCase, AWantedNanMatchesANan) {
    TensorFile file = softmax_case("merge_state", "one_part");
    file.tensors.at("in.o").as<float>()[2] = file.tensors.at("out.o").as<float>()[2] = std::nanf("");
    EXPECT_EQ(attenta::run_case(file, "case").verdict, Verdict::ok);
    file.tensors.at("out.o").as<float>()[2] = 0;
    EXPECT_EQ(attenta::run_case(file, "case").verdict, Verdict::fail);
}

TEST(RunCase, ComparesWhatTheFileHolds) {
    TensorFile file = softmax_case("softmax", "mha_cross");
    file.tensors.erase("out.lse");
    const CaseResult right = attenta::run_case(file, "case");
    EXPECT_EQ(right.verdict, Verdict::ok) << right.reason;
    EXPECT_EQ(right.not_compared, std::vector<std::string>{"lse"});
    EXPECT_LT(right.max_abs, 1e-4);
    file.tensors.at("out.o").as<float>()[10] += 0.01f;
    EXPECT_EQ(attenta::run_case(file, "case").verdict, Verdict::fail);
}

TEST(RunCase, WithoutOutputsNothingIsCompared) {
    TensorFile file = softmax_case("softmax", "mha_cross");
    file.tensors.erase("out.o");
    file.tensors.erase("out.lse");
    for (const auto* key : {"atol", "rtol", "params"}) file.metadata.erase(key);
    const CaseResult r = attenta::run_case(file, "case");
    EXPECT_EQ(r.verdict, Verdict::ran);
    EXPECT_EQ(r.not_compared, (std::vector<std::string>{"lse", "o"}));
    EXPECT_EQ(r.outputs.at("o").shape, (std::vector<std::int64_t>{3, 17, 24}));
}

TEST(RunCase, UnknownMechanismIsMissing) {
    TensorFile file = softmax_case("softmax", "mha_cross");
    file.metadata["mechanism"] = "no_such";
    EXPECT_EQ(attenta::run_case(file, "case").verdict, Verdict::missing);
}

TEST(RunCase, ForeignFilesAreErrors) {
    TensorFile file = softmax_case("softmax", "mha_cross");
    file.tensors["weight"] = file.tensors["in.q"];
    EXPECT_EQ(message_of([&] { attenta::run_case(file, "case"); }),
              "run_case: the file is no case: tensor 'weight' is neither in.* nor out.*");
    file.metadata.erase("mechanism");
    EXPECT_EQ(message_of([&] { attenta::run_case(file, "case"); }),
              "run_case: the file is no case: its metadata has no 'mechanism', and no mechanism was given");
}

TEST(RunCase, InputsThatDoNotFitAreRefused) {
    const TensorFile good = softmax_case("softmax", "bias_mask_empty_rows");
    const auto refused = [&](const std::string& parameters, auto&& edit) {
        TensorFile bad = good;
        bad.metadata["params"] = parameters;
        edit(bad.tensors);
        return message_of([&] { attenta::run_case(bad, "case"); });
    };
    const auto keep = [](auto&) {};
    EXPECT_EQ(refused("{", keep), "softmax: the parameter list is not valid JSON: {");
    EXPECT_EQ(refused("[]", keep), "softmax: the parameter list is not a JSON object: []");
    EXPECT_EQ(refused(R"({"causal": True})", keep),
              "softmax: the parameter list is not valid JSON, after the name 'causal': {\"causal\": True}");
    EXPECT_EQ(refused(R"({"causal": true, "scale": 1, "causal": false})", keep),
              "softmax: the parameter list names 'causal' twice: {\"causal\": true, \"scale\": 1, \"causal\": false}");
    EXPECT_EQ(refused(R"({"foo": 1})", keep), "softmax: unknown parameter 'foo'");
    EXPECT_EQ(refused(R"({"causal": 1})", keep), "softmax: parameter 'causal' is 1, expected true or false");
    EXPECT_EQ(refused(R"({"causal": null})", keep), "softmax: parameter 'causal' is null, expected true or false");
    EXPECT_EQ(refused(R"({"scale": "1"})", keep), "softmax: parameter 'scale' is \"1\", expected a number");
    EXPECT_EQ(refused(R"({"scale": 1e300})", keep), "softmax: parameter 'scale' is 1e+300, out of range");
    EXPECT_EQ(refused(R"({"prefix": 2.0})", keep), "softmax: parameter 'prefix' is 2.0, expected an integer");
    EXPECT_EQ(refused(R"({"prefix": 18446744073709551615})", keep),
              "softmax: parameter 'prefix' is 18446744073709551615, expected an integer");
    EXPECT_EQ(refused(R"({"scale": null, "q_offset": null, "softcap": 8})", keep), "(no Error)");
    EXPECT_EQ(refused("{}", [](auto& t) { t["in.foo"] = t["in.q"]; }), "softmax: unknown input 'foo'");
    EXPECT_EQ(refused("{}", [](auto& t) { t.erase("in.v"); }), "softmax: input 'v' is missing");
    EXPECT_EQ(refused("{}",
                      [](auto& t) {
                          t["in.q"].shape = {26, 9};
                      }),
              "softmax: input 'q' has the shape [26, 9], expected [Hq, Tq, D]");
    EXPECT_EQ(refused("{}",
                      [](auto& t) {
                          t["in.v"] = Tensor::zeros(TensorType::f32, {2, 18, 7});
                      }),
              "softmax: input 'v' has the shape [2, 18, 7], expected [2, 19, Dv]");
    EXPECT_EQ(refused("{}", [](auto& t) { t["in.mask"].type = TensorType::u8; }),
              "softmax: input 'mask' is U8, expected BOOL");
    EXPECT_EQ(refused("{}",
                      [](auto& t) {
                          t["in.v"] = Tensor::zeros(TensorType::f8_e4m3, {2, 19, 7});
                      }),
              "softmax: input 'v' is F8_E4M3, expected F32");
    EXPECT_EQ(refused("{}", [](auto& t) { t["in.sink"] = Tensor::zeros(TensorType::f32, {0}); }),
              "softmax: input 'sink' has the shape [0], expected [2]");
}

TensorFile linear_case(const std::string& mechanism, const std::string& name) {
    return TensorFile::load(golden_path("linear", mechanism, name));
}

TEST(RunCase, StringsAndListsAreParameters) {
    const auto with = [](TensorFile file, const std::string& parameters) {
        file.metadata["params"] = parameters;
        return message_of([&] { attenta::run_case(file, "case"); });
    };
    const TensorFile features = linear_case("kernel_linear", "elu1_causal_grouped");
    const std::string known = R"(expected one of "elu1", "relu", "squared_relu", "exp", "identity", "softmax", "cos")";
    EXPECT_EQ(with(features, R"({"feature": "squared_relu", "denominator": "clamp"})"), "(no Error)");
    EXPECT_EQ(with(features, R"({"feature": "tanh"})"), "kernel_linear: parameter 'feature' is \"tanh\", " + known);
    EXPECT_EQ(with(features, R"({"feature": "Relu"})"), "kernel_linear: parameter 'feature' is \"Relu\", " + known);
    EXPECT_EQ(with(features, R"({"feature": 1})"), "kernel_linear: parameter 'feature' is 1, " + known);
    EXPECT_EQ(with(features, R"({"feature": null})"), "kernel_linear: parameter 'feature' is null, " + known);

    const TensorFile steps = linear_case("mamba2", "groups_state");
    const std::string pair = ", expected a list of 2 numbers";
    EXPECT_EQ(with(steps, R"({"dt_limit": [0, 0.5]})"), "(no Error)");
    EXPECT_EQ(with(steps, R"({"dt_limit": null})"), "(no Error)");
    EXPECT_EQ(with(steps, R"({"dt_limit": 0.5})"), "mamba2: parameter 'dt_limit' is 0.5" + pair);
    EXPECT_EQ(with(steps, R"({"dt_limit": []})"), "mamba2: parameter 'dt_limit' is []" + pair);
    EXPECT_EQ(with(steps, R"({"dt_limit": [0, 1, 2]})"), "mamba2: parameter 'dt_limit' is [0,1,2]" + pair);
    EXPECT_EQ(with(steps, R"({"dt_limit": [0, "1"]})"), "mamba2: parameter 'dt_limit[1]' is \"1\", expected a number");
    EXPECT_EQ(with(steps, R"({"dt_limit": [0, 1e300]})"), "mamba2: parameter 'dt_limit[1]' is 1e+300, out of range");

    const TensorFile windows = TensorFile::load(golden_path("sparse", "local_global", "dilated_causal"));
    const std::string dilation = "local_global: parameter 'dilation";
    EXPECT_EQ(with(windows, R"({"dilation": 2})"), "(no Error)");
    EXPECT_EQ(with(windows, R"({"dilation": [3, 1]})"), "(no Error)");
    EXPECT_EQ(with(windows, R"({"dilation": 0.5})"), dilation + "' is 0.5, expected an integer");
    EXPECT_EQ(with(windows, R"({"dilation": [1, null]})"), dilation + "[1]' is null, expected an integer");
    const TensorFile graph = TensorFile::load(golden_path("sparse", "social", "edge_partition"));
    EXPECT_EQ(with(graph, R"({"mix": [0.2, 0.3, 0.2, 0.3]})"), "(no Error)");
    EXPECT_EQ(with(graph, R"({"mix": [1, 2]})"), "social: parameter 'mix' is [1,2], expected a list of 4 numbers");
    EXPECT_EQ(with(graph, R"({"mix": [1, 2, 3, null]})"), "social: parameter 'mix[3]' is null, expected a number");
    const TensorFile related = TensorFile::load(golden_path("analysis", "relations", "one_relation_head"));
    const std::string pairs = "relations: parameter 'pairs' is ";
    EXPECT_EQ(with(related, R"({"pairs": [["q", "k"], ["v", "v"]]})"), "(no Error)");
    EXPECT_EQ(with(related, R"({"pairs": ["q"]})"), pairs + R"(["q"], expected a list of lists of 2 strings)");
    EXPECT_EQ(with(related, R"({"pairs": [["q", "o"]]})"), pairs + R"("o", expected one of "q", "k", "v")");
}

/// Python's json writes Infinity. Upper limits may be open; all else needs a finite number, and the message names it.
TEST(RunCase, InfinityIsAParameterWhereItMeansSomething) {
    TensorFile steps = linear_case("mamba2", "groups_state");
    const auto verdict = [&](const std::string& parameters) {
        steps.metadata["params"] = parameters;
        return attenta::run_case(steps, "case").verdict;
    };
    EXPECT_EQ(verdict(R"({"dt_limit": [0.001, 0.05]})"), Verdict::fail) << "the limits matter to this case";
    EXPECT_EQ(verdict(R"({"dt_limit": [0, Infinity]})"), Verdict::ok);
    EXPECT_EQ(verdict(R"({"dt_limit": [-Infinity,Infinity]})"), Verdict::ok);
    EXPECT_EQ(verdict(R"({"dt_limit": [0.0, {"__float__": "Infinity"}]})"), Verdict::ok);
    EXPECT_EQ(verdict(R"({"dt_limit": [0, null]})"), Verdict::ok);
    const auto refused = [&](const std::string& parameters) { return message_of([&] { verdict(parameters); }); };
    EXPECT_EQ(refused(R"({"dt_limit": [null, 1]})"), "mamba2: parameter 'dt_limit[0]' is null, expected a number");
    EXPECT_EQ(refused(R"({"dt_limit": [0, NaN]})"),
              "mamba2: parameter 'dt_limit[1]' is {\"__float__\":\"NaN\"}, expected a number");
    EXPECT_EQ(refused(R"({"dt_softplus": Infinity})"),
              "mamba2: parameter 'dt_softplus' is {\"__float__\":\"Infinity\"}, expected true or false");
    EXPECT_EQ(refused(R"({"a \\ \" Infinity": 1})"), "mamba2: unknown parameter 'a \\ \" Infinity'")
        << "a string is left alone";
}

TEST(RunCase, NoOtherNumberMayBeInfinite) {
    for (const attenta::Mechanism& m : attenta::mechanisms()) {
        const std::string family(m.family), mechanism(m.name);
        for (const auto& p : m.parameters()) {
            if (!p.type.starts_with("float")) continue;
            TensorFile file = TensorFile::load(golden_cases(family, mechanism)[0]);
            const std::string given = file.metadata["params"];
            for (const auto* value : {"Infinity", "-Infinity", "NaN"}) {
                nlohmann::json others = nlohmann::json::parse(given);
                others.erase(std::string(p.name));
                std::string text = others.dump();
                text.insert(1, "\"" + std::string(p.name) + "\": " + value + (others.empty() ? "" : ", "));
                file.metadata["params"] = text;
                const std::string message = message_of([&] { attenta::run_case(file, "case"); });
                EXPECT_NE(message.find(p.name), std::string::npos) << mechanism << ": " << message;
            }
        }
    }
}

TEST(RunCase, MessagesAreShortWhateverTheFileHolds) {
    TensorFile file = softmax_case("softmax", "mha_cross");
    const auto refused = [&](const std::string& parameters) {
        file.metadata["params"] = parameters;
        const std::string message = message_of([&] { attenta::run_case(file, "case"); });
        EXPECT_LT(message.size(), 400u);
        return message;
    };
    const std::string opened(66'000, '['), closed(66'000, ']');
    EXPECT_TRUE(refused("{\"scale\": " + opened + "1" + closed + "}")
                    .starts_with("softmax: the parameter list is nested too deeply: {\"scale\": [[[["));
    EXPECT_TRUE(refused(opened).starts_with("softmax: the parameter list is nested too deeply: [[[["));
    EXPECT_TRUE(refused("{\"scale\": \"" + std::string(100'000, 'x') + "\"}").ends_with("xxx..., expected a number"));
    EXPECT_TRUE(refused("{\"" + std::string(100'000, 'x') + "\": 1}").ends_with("xxx...'"));
    EXPECT_EQ(refused(R"({"\u001b[2J\u0007": 1})"), R"(softmax: unknown parameter '\x1b[2J\x07')");
    file.tensors["in.q"].shape.assign(100'000, 1);
    file.tensors["in.q"].bytes.resize(4);
    EXPECT_TRUE(refused("{}").ends_with("1, 1, ...], expected [Hq, Tq, D]"));
}

/// Outputs have the sizes of several inputs, and have to be there before the mechanism sees any of them.
TEST(RunCase, SizesAreComparedBeforeOutputsAreMade) {
    const auto refused = [](const char* mechanism, const attenta::Tensors& inputs) {
        const auto* row = attenta::find_mechanism("linear", mechanism);
        return message_of([&] { (row ? row : attenta::find_mechanism("softmax", mechanism))->run({inputs}); });
    };
    const auto zeros = [](std::vector<std::int64_t> shape) { return Tensor::zeros(TensorType::f32, std::move(shape)); };
    const std::int64_t many = std::int64_t{1} << 40;
    EXPECT_EQ(refused("softmax", {{"q", zeros({1, 1, 4})}, {"k", zeros({1, 0, 4})}, {"v", zeros({1, 0, many})}}),
              "softmax: inputs without elements have too large a shape: Dv = 1099511627776");
    EXPECT_EQ(refused("softmax", {{"q", zeros({64, 32, 0})}, {"k", zeros({1, 0, 0})}, {"v", zeros({1, 0, 1 << 16})}}),
              "softmax: inputs without elements have too large a shape: D = 0, Dv = 65536, Hkv = 1, Hq = 64");
    EXPECT_EQ(refused("gla", {{"q", zeros({1, 2, 4})}, {"k", zeros({1, 3, 4})}, {"v", zeros({1, 2, 4})}}),
              "gla: input 'k' has the shape [1, 3, 4], expected [Hk, 2, 4]");
    EXPECT_EQ(refused("softmax", {{"q", zeros({3, 1, 4})}, {"k", zeros({2, 1, 4})}, {"v", zeros({2, 1, 4})}}),
              "softmax: input 'k' has 2 heads, needs a divisor of the 3 of input 'q'");
    EXPECT_EQ(
        refused("gla",
                {{"q", zeros({1, 2, 4})}, {"k", zeros({1, 2, 4})}, {"v", zeros({1, 2, 4})}, {"g", zeros({1, 2, 3})}}),
        "gla: input 'g' has the shape [1, 2, 3], expected [Hs] or [Hs, 2] or [Hs, 2, 4]");
    EXPECT_EQ(refused("kernel_linear", {{"q", zeros({1, 1, 4})},
                                        {"k", zeros({1, 1, 4})},
                                        {"v", zeros({1, 1, 4})},
                                        {"initial_state", zeros({1, 0, 4})}}),
              "kernel_linear: input 'initial_state' is empty, its shape is [1, 0, 4]");
    EXPECT_EQ(refused("performer", {{"q", zeros({1, 1, 0})},
                                    {"k", zeros({1, 1, 0})},
                                    {"v", zeros({1, 1, 4})},
                                    {"projection", zeros({many, 0})}}),
              "performer: inputs without elements have too large a shape: D = 0, Hq = 1, M = 1099511627776");
}

/// Any input with any size of 0 and any other that nothing stands behind.
TEST(RunCase, EmptyTensorsOfAnyShapeAreRefused) {
    for (const attenta::Mechanism& m : attenta::mechanisms()) {
        const std::string family(m.family), mechanism(m.name);
        const auto path = golden_cases(family, mechanism).back();
        const TensorFile good = TensorFile::load(path);
        for (const auto& [name, tensor] : good.tensors) {
            const std::size_t rank = name.starts_with("in.") ? tensor.shape.size() : 0;
            for (std::size_t i = 0; i < rank; ++i)
                for (std::size_t j = 0; j < rank; ++j) {
                    if (i == j) continue;
                    TensorFile bad = good;
                    bad.tensors[name].shape[i] = 0;
                    bad.tensors[name].shape[j] = std::int64_t{1} << 36;
                    bad.tensors[name].bytes.clear();
                    EXPECT_THROW(attenta::run_case(bad, "case"), Error) << path << ' ' << name << ' ' << i << ' ' << j;
                }
        }
    }
}

TEST(RunCase, WithoutKeysThereIsNothingToMask) {
    attenta::Tensors inputs;
    inputs["q"] = Tensor::zeros(TensorType::f32, {2, 3, 4});
    inputs["k"] = Tensor::zeros(TensorType::f32, {1, 0, 4});
    inputs["v"] = Tensor::zeros(TensorType::f32, {1, 0, 5});
    inputs["bias"] = Tensor::zeros(TensorType::f32, {1, 3, 0});
    inputs["mask"] = Tensor::zeros(TensorType::boolean, {2, 3, 0});
    const auto outputs = attenta::find_mechanism("softmax", "softmax")->run({inputs});
    for (const float x : outputs.at("lse").to_float()) EXPECT_EQ(x, -infinity);
}

TEST(RunCase, RowsOfABiasMayBeShorterThanTheKeys) {
    attenta::Tensors inputs;
    inputs["q"] = Tensor::zeros(TensorType::f32, {2, 3, 4});
    inputs["k"] = Tensor::zeros(TensorType::f32, {1, 6, 4});
    inputs["v"] = Tensor::zeros(TensorType::f32, {1, 6, 5});
    inputs["bias"] = Tensor::zeros(TensorType::f32, {1, 3, 5});
    const auto* softmax = attenta::find_mechanism("softmax", "softmax");
    const auto outputs = softmax->run({inputs});
    for (const float x : outputs.at("lse").to_float()) EXPECT_FLOAT_EQ(x, std::log(5.f));
    inputs["bias"] = Tensor::zeros(TensorType::f32, {1, 3, 7});
    EXPECT_TRUE(attenta_test::refuses([&] { softmax->run({inputs}); }, {"bias", "[1, 3, 7]", "at most 6"}));
}

TEST(MakeCase, NamesTensorsAndSetsParameters) {
    const TensorFile good = softmax_case("softmax", "gqa_causal_chunk");
    TensorFile dump;  // of a framework
    for (const auto& [name, tensor] : good.tensors)
        if (name != "out.lse") dump.tensors[name.substr(name.find('.') + 1)] = tensor;
    dump.metadata["format"] = "pt";
    const auto* softmax = attenta::find_mechanism("softmax", "softmax");

    const TensorFile made =
        attenta::make_case(dump, {.mechanism = softmax, .parameters = {{"causal", "true"}, {"scale", "0.3"}}});
    EXPECT_TRUE(made.tensors.contains("in.q") && made.tensors.contains("out.o"));
    EXPECT_EQ(made.metadata.at("params"), R"({"causal":true,"scale":0.3})");
    EXPECT_EQ(attenta::run_case(made, "case").verdict, Verdict::ok);
    const TensorFile plain = attenta::make_case(dump, {.mechanism = softmax});
    EXPECT_EQ(attenta::run_case(plain, "case").verdict, Verdict::fail);
    const TensorFile loose = attenta::make_case(dump, {.mechanism = softmax, .atol = "9", .rtol = "1e-3"});
    EXPECT_EQ(attenta::run_case(loose, "case").verdict, Verdict::ok);
    EXPECT_EQ(loose.metadata.at("rtol"), "1e-3");
    dump.tensors["hidden"] = dump.tensors["q"];
    EXPECT_EQ(message_of([&] { attenta::run_case(attenta::make_case(dump, {.mechanism = softmax}), "case"); }),
              "softmax: unknown input 'hidden'");
}

TEST(MakeCase, AnInputGoesBeforeAnOutputOfItsName) {
    TensorFile parts = softmax_case("merge_state", "one_part");
    parts.tensors = {{"o", parts.tensors.at("in.o")}, {"lse", parts.tensors.at("in.lse")}};
    const TensorFile made = attenta::make_case(parts, {});
    EXPECT_TRUE(made.tensors.contains("in.o") && made.tensors.contains("in.lse"));
}

TEST(MakeCase, SettingsTakeThePlaceOfTheMetadata) {
    TensorFile file = softmax_case("softmax", "gqa_causal_chunk");
    file.metadata["params"] = R"({"causal": false, "softcap": 8, "scale": Infinity})";
    const auto params = [&](const std::map<std::string, std::string>& parameters) {
        return attenta::make_case(file, {.parameters = parameters}).metadata.at("params");
    };
    EXPECT_EQ(params({{"causal", "true"}, {"scale", "null"}}), R"({"causal":true,"scale":null,"softcap":8})");
    EXPECT_EQ(params({{"scale", "relu"}, {"softcap", "[0, Infinity]"}}),
              R"({"causal":false,"scale":"relu","softcap":[0,{"__float__":"Infinity"}]})");
    EXPECT_EQ(params({{"scale", "-Infinity"}, {"softcap", ""}}),
              R"({"causal":false,"scale":{"__float__":"-Infinity"},"softcap":""})");
    const std::string deep = std::string(66'000, '[') + std::string(66'000, ']');
    EXPECT_EQ(message_of([&] { params({{"scale", deep}}); }), "make_case: parameter 'scale' is nested too deeply");
    file.metadata["params"] = "[]";
    EXPECT_EQ(message_of([&] { params({{"scale", "1"}}); }), "make_case: the parameter list is not a JSON object: []");
    EXPECT_EQ(attenta::make_case(file, {}).metadata, file.metadata);
}

/// A string or a list that is read must also be used.
TEST(RunCase, StringsAndListsReachTheMechanism) {
    TensorFile features = linear_case("kernel_linear", "elu1_causal_grouped");
    features.metadata["params"] = R"({"feature": "relu", "causal": true})";
    EXPECT_EQ(attenta::run_case(features, "case").verdict, Verdict::fail);
    TensorFile steps = linear_case("mamba2", "full_skip_gate");
    steps.metadata["params"] = R"({"dt_limit": [0.001, 0.05]})";
    EXPECT_EQ(attenta::run_case(steps, "case").verdict, Verdict::fail);
}

TEST(RunCase, StatesAreReadWithTheirCompanions) {
    const TensorFile good = linear_case("retention", "score_norm_state");
    const auto refused = [&](auto&& edit) {
        TensorFile bad = good;
        edit(bad.tensors);
        return message_of([&] { attenta::run_case(bad, "case"); });
    };
    EXPECT_EQ(refused([](auto& t) { t.erase("in.state"); }),
              "retention: input 'state_n' belongs to a state, which is not given");
    EXPECT_EQ(refused([](auto& t) {
                  t["in.state"].shape = {2, 96};
              }),
              "retention: input 'state' has the shape [2, 96], expected [2, 12, 8]");
    EXPECT_EQ(refused([](auto& t) {
                  t["in.state_z"].shape = {12, 2};
              }),
              "retention: input 'state_z' has the shape [12, 2], expected [2, 12]");
    EXPECT_EQ(refused([](auto& t) {
                  t["in.state"] = Tensor::zeros(TensorType::f32, {0, 12, 8});
              }),
              "retention: input 'state' has the shape [0, 12, 8], expected [2, 12, 8]");
    EXPECT_EQ(refused([](auto& t) {
                  t["in.g"].shape = {2, 1};
              }),
              "retention: input 'g' has the shape [2, 1], expected [Hs]");
}

TEST(RunCase, GatesComeInThreeGrains) {
    TensorFile file = linear_case("gla", "key_gate_state");
    const auto run = [&](std::vector<std::int64_t> shape) {
        Tensor& g = file.tensors["in.g"] = Tensor::zeros(TensorType::f32, std::move(shape));
        for (float& x : g.as<float>()) x = -0.125f;
        return attenta::run_case(file, "case").outputs.at("o").to_float();
    };
    const auto by_channel = run({2, 37, 12}), by_token = run({2, 37}), by_head = run({2});
    for (std::size_t i = 0; i < by_channel.size(); ++i) {
        EXPECT_NEAR(by_token[i], by_channel[i], 2e-5f) << i;
        EXPECT_NEAR(by_head[i], by_channel[i], 2e-5f) << i;
    }
}

template <class T>
Tensor narrowed(const Tensor& t, TensorType type) {
    std::vector<T> values;
    for (const float x : t.as<float>()) values.push_back(T(x));
    return tensor<T>(type, t.shape, values);
}

TEST(RunCase, HalfPrecisionTensorsRun) {
    const TensorFile exact = softmax_case("softmax", "gqa_causal_chunk");
    TensorFile f16 = exact, bf16 = exact, mixed = exact;
    for (const auto* name : {"in.q", "in.k", "in.v"}) {
        f16.tensors[name] = narrowed<attenta::float16>(exact.tensors.at(name), TensorType::f16);
        bf16.tensors[name] = narrowed<attenta::bfloat16>(exact.tensors.at(name), TensorType::bf16);
    }
    mixed.tensors["in.q"] = narrowed<double>(exact.tensors.at("in.q"), TensorType::f64);
    mixed.tensors["in.v"] = f16.tensors["in.v"];
    for (auto* file : {&f16, &bf16, &mixed}) {
        file->metadata["atol"] = file == &bf16 ? "0.03" : "0.004";
        const CaseResult r = attenta::run_case(*file, "case");
        EXPECT_EQ(r.verdict, Verdict::ok) << r.reason;
        EXPECT_GT(r.max_abs, 1e-5);
    }
}

}  // namespace
