// Tensors, and the reader and writer of .safetensors files.
#include <attenta/catalog.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

#include "support/catalog.hpp"

namespace {

using namespace attenta_test;
using attenta::Error;
using attenta::Tensor;
using attenta::TensorFile;
using attenta::TensorType;
namespace fs = std::filesystem;

class SafetensorsTest : public CatalogTest {};

TEST_F(SafetensorsTest, ElementsHaveExactlyTheAskedType) {
    const Tensor t = tensor<float>(TensorType::f32, {2}, {1, 2});
    EXPECT_EQ(t.as<float>()[1], 2);
    EXPECT_EQ(message_of([&] { t.as<std::int32_t>(); }), "Tensor::as: the tensor is F32, not I32");
    EXPECT_EQ(message_of([&] { Tensor::zeros(TensorType::i64, {2}).to_float(); }),
              "Tensor::to_float: the tensor is I64, needs F64, F32, F16 or BF16");
    EXPECT_THROW(Tensor::zeros(TensorType::f32, {-1}), Error);
    EXPECT_THROW(Tensor::zeros(TensorType::f32, {1ll << 40, 1ll << 40}), Error);
    EXPECT_THROW(Tensor::zeros(TensorType::f32, {1ll << 60}), Error) << "fits its type, but no memory";
}

TEST_F(SafetensorsTest, SaveThenLoadGivesEveryTypeBack) {
    TensorFile out;
    out.metadata = {{"family", "softmax"}, {"note", "äöü \"quoted\""}};
    out.tensors["f64"] = tensor<double>(TensorType::f64, {2}, {1.5, -INFINITY});
    out.tensors["f32"] = tensor<float>(TensorType::f32, {1, 3}, {1, -2, 0.25f});
    out.tensors["f16"] =
        tensor<attenta::float16>(TensorType::f16, {2}, {attenta::float16(1.5f), attenta::float16(-3.f)});
    out.tensors["bf16"] = tensor<attenta::bfloat16>(TensorType::bf16, {1}, {attenta::bfloat16(2.f)});
    out.tensors["i64"] = tensor<std::int64_t>(TensorType::i64, {2, 1}, {-1, 1ll << 60});
    out.tensors["i32"] = tensor<std::int32_t>(TensorType::i32, {1}, {-7});
    out.tensors["u8"] = tensor<std::uint8_t>(TensorType::u8, {3}, {0, 7, 255});
    out.tensors["a bool of odd size before the others"] = tensor<std::uint8_t>(TensorType::boolean, {3}, {1, 0, 1});
    out.tensors["scalar"] = tensor<float>(TensorType::f32, {}, {4});
    out.tensors["empty"] = Tensor::zeros(TensorType::f32, {2, 0, 8});
    out.save(file("all.safetensors"));

    const TensorFile in = TensorFile::load(file("all.safetensors"));
    EXPECT_EQ(in.metadata, out.metadata);
    ASSERT_EQ(in.tensors.size(), out.tensors.size());
    for (const auto& [name, want] : out.tensors) {
        const Tensor& got = in.tensors.at(name);
        EXPECT_TRUE(got.type == want.type && got.shape == want.shape && got.bytes == want.bytes) << name;
    }
    EXPECT_EQ(in.tensors.at("f16").to_float(), (std::vector<float>{1.5f, -3.f}));
    EXPECT_TRUE(in.tensors.at("a bool of odd size before the others").as<bool>()[2]);
}

TEST_F(SafetensorsTest, TypesThatNothingComputesWithAreKeptAndRefusedWhereTheyAreTaken) {
    using enum TensorType;
    const std::pair<TensorType, std::size_t> types[] = {
        {i8, 8},      {i16, 16},    {u16, 16},        {u32, 32},        {u64, 64},    {c64, 64},    {f8_e4m3, 8},
        {f8_e5m2, 8}, {f8_e8m0, 8}, {f8_e4m3fnuz, 8}, {f8_e5m2fnuz, 8}, {f6_e2m3, 6}, {f6_e3m2, 6}, {f4, 4}};
    TensorFile out;
    for (const auto& [type, bytes] : types)
        out.tensors[std::string(name(type))] = {type, {2, 4}, std::vector<std::byte>(bytes, std::byte{7})};
    out.save(file("other"));

    const TensorFile in = TensorFile::load(file("other"));
    for (const auto& [type, bytes] : types) {
        const Tensor& t = in.tensors.at(std::string(name(type)));
        EXPECT_TRUE(t.type == type && t.bytes.size() == bytes && t.bytes[0] == std::byte{7}) << name(type);
        EXPECT_EQ(t.size(), 8) << name(type);
        EXPECT_EQ(message_of([&] { t.as<float>(); }),
                  "Tensor::as: the tensor is " + std::string(name(type)) + ", not F32");
        EXPECT_THROW(t.to_float(), Error);
    }
    EXPECT_TRUE(Tensor::zeros(f4, {0, 3}).bytes.empty());
    EXPECT_THROW(Tensor::zeros(f4, {3}), Error);
}

TEST_F(SafetensorsTest, HeaderIsPaddedToEightBytes) {
    for (const std::string name : {"a", "ab", "abc", "abcdefgh"}) {
        TensorFile out;
        out.tensors[name] = tensor<float>(TensorType::f32, {1}, {1});
        out.save(file("padded"));
        EXPECT_EQ((fs::file_size(file("padded")) - 4) % 8, 0u);
        EXPECT_NO_THROW(TensorFile::load(file("padded")));
    }
}

TEST_F(SafetensorsTest, SaveRefusesWhatLoadCouldNotRead) {
    TensorFile out;
    out.tensors["x"] = {TensorType::f32, {2}, std::vector<std::byte>(7)};
    EXPECT_NE(message_of([&] { out.save(file("x")); }).find("tensor 'x' cannot be saved: 7 bytes, shape [2]"),
              std::string::npos);
    out.tensors.clear();
    out.metadata["bad"] = "\xff";
    EXPECT_NE(message_of([&] { out.save(file("x")); }).find("not UTF-8"), std::string::npos);
    EXPECT_NE(message_of([&] { TensorFile().save(file("no/such/folder")); }).find("cannot be written"),
              std::string::npos);
}

/// The bytes of a file with this header and this many bytes of data.
std::string raw(const std::string& header, std::size_t data, std::uint64_t claimed = 0) {
    const std::uint64_t length = claimed ? claimed : header.size();
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    return bytes + header + std::string(data, '\2');
}

std::string entry(const std::string& fields) { return "{\"x\":{" + fields + "}}"; }

TEST_F(SafetensorsTest, DamageIsRefusedWithPathAndReason) {
    const std::string x = R"("x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
    const struct {
        std::string bytes, reason;
    } damaged[] = {
        {"", "it has 0 bytes"},
        {"1234567", "it has 7 bytes"},
        {raw("", 0, 1), "claims 1 bytes, the file has 0"},
        {raw("{}", 0, 1000), "claims 1000 bytes, the file has 2"},
        {raw("{}", 0, 100'000'001), "the format allows 100 MB"},
        {raw("{}", 0, ~std::uint64_t{0}), "the format allows 100 MB"},
        {"PK\3\4 some zip archive", "the format allows 100 MB"},
        {raw("", 8), "not valid JSON"},
        {raw("{\"x\":", 4), "not valid JSON"},
        {raw("{\"\xff\":1}", 4), "not valid JSON"},
        {raw("[1e999]", 4), "not valid JSON"},
        {raw("[]", 0), "not a JSON object"},
        {raw(std::string(100'000, '['), 0), "nested too deeply"},
        {raw("{" + x + "," + x + "}", 4), "names 'x' twice"},
        {raw(R"({"__metadata__":[]})", 0), "__metadata__ is not an object"},
        {raw(R"({"__metadata__":{"a":1}})", 0), "__metadata__ 'a' is not a string"},
        {raw(R"({"__metadata__":{"a":"1","a":"2"}})", 0), "names 'a' twice"},
        {raw(R"({"__metadata__":{},"__metadata__":{}})", 0), "names '__metadata__' twice"},
        {raw(entry(R"("dtype":"U8","dtype":"I32","shape":[4],"data_offsets":[0,4])"), 4), "names 'dtype' twice"},
        {raw(R"({"\u001b[2J":7})", 0), R"(tensor '\x1b[2J': its entry is not an object)"},
        {raw(R"({")" + std::string(5000, 'n') + R"(":7})", 0), "nnn...': its entry is not an object"},
        {raw("{\"x\":Infinity}", 0), "not valid JSON, after the name 'x'"},
        {raw(R"({"x":7})", 0), "its entry is not an object"},
        {raw(entry(R"("shape":[4],"data_offsets":[0,4])"), 4), "dtype is not a string"},
        {raw(entry(R"("dtype":"F9","shape":[4],"data_offsets":[0,4])"), 4), "unknown dtype F9"},
        {raw(entry(R"("dtype":"F8_E4M3","shape":[4],"data_offsets":[0,3])"), 3),
         "3 bytes of data, F8_E4M3 [4] needs 4"},
        {raw(entry(R"("dtype":"F4","shape":[5],"data_offsets":[0,3])"), 3), "ends inside a byte"},
        {raw(entry(R"("dtype":"U8","data_offsets":[0,4])"), 4), "shape is not a list"},
        {raw(entry(R"("dtype":"U8","shape":[-4],"data_offsets":[0,4])"), 4), "shape holds -4"},
        {raw(entry(R"("dtype":"U8","shape":[4.0],"data_offsets":[0,4])"), 4), "shape holds 4.0"},
        {raw(entry(R"("dtype":"U8","shape":["4"],"data_offsets":[0,4])"), 4), "shape holds \"4\""},
        {raw(entry(R"("dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,4])"), 4), "size out of range"},
        {raw(entry(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4])"), 4), "is too large"},
        {raw(entry(R"("dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0])"), 0), "is too large"},
        {raw(entry(R"("dtype":"U8","shape":[4])"), 4), "data_offsets is not a list"},
        {raw(entry(R"("dtype":"U8","shape":[4],"data_offsets":[0])"), 4), "not a pair"},
        {raw(entry(R"("dtype":"U8","shape":[4],"data_offsets":[4,0])"), 4), "leave the 4 bytes"},
        {raw(entry(R"("dtype":"U8","shape":[4],"data_offsets":[0,4])"), 3), "leave the 3 bytes"},
        {raw(entry(R"("dtype":"U8","shape":[4],"data_offsets":[0,9223372036854775807])"), 4), "leave the 4 bytes"},
        {raw(entry(R"("dtype":"F32","shape":[1],"data_offsets":[0,3])"), 3), "3 bytes of data, F32 [1] needs 4"},
        {raw(entry(R"("dtype":"U8","shape":[2],"data_offsets":[2,4])"), 4),
         "bytes 0 to 2 of the data belong to no tensor"},
        {raw("{" + x + "}", 5), "the tensors have 4 bytes, the file holds 5"},
        {raw("{" + x + R"(,"y":{"dtype":"U8","shape":[3],"data_offsets":[3,6]}})", 6), "overlap at byte 3"},
        {raw("{" + x + R"(,"y":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4), "overlap at byte 0"},
        {raw(entry(R"("dtype":"BOOL","shape":[4],"data_offsets":[0,4])"), 4), "a BOOL is neither 0 nor 1"},
    };
    const fs::path path = file("damaged.safetensors");
    for (const auto& [bytes, reason] : damaged) {
        std::ofstream(path, std::ios::binary) << bytes;
        const std::string message = message_of([&] { TensorFile::load(path); });
        EXPECT_TRUE(message.starts_with(path.string() + ": ")) << message;
        EXPECT_NE(message.find(reason), std::string::npos) << message << "\nexpected: " << reason;
        EXPECT_LT(message.size(), path.string().size() + 200);
    }
    EXPECT_EQ(message_of([&] { TensorFile::load(file("none")); }), file("none").string() + ": no such file");
    EXPECT_EQ(message_of([&] { TensorFile::load(file("")); }), file("").string() + ": not a regular file");
}

/// The reference implementation takes a null for no metadata.
TEST_F(SafetensorsTest, MetadataMayBeNull) {
    std::ofstream(file("null"), std::ios::binary) << raw(R"({"__metadata__":null})", 0);
    EXPECT_TRUE(TensorFile::load(file("null")).metadata.empty());
}

TEST_F(SafetensorsTest, EveryTruncationOfAGoldenCaseIsRefused) {
    std::ifstream stream(golden_path("softmax", "merge_state", "one_part"), std::ios::binary);
    const std::string whole(std::istreambuf_iterator<char>(stream), {});
    for (std::size_t n = 0; n < whole.size(); n += 5) {
        std::ofstream(file("cut"), std::ios::binary) << whole.substr(0, n);
        EXPECT_THROW(TensorFile::load(file("cut")), Error) << n;
    }
}

}  // namespace
