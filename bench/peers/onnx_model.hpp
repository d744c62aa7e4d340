// ONNX files of a single node, written by hand: a protocol buffer is a list of fields, and few of them are needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace bench::onnx {

/// A protocol buffer message; fields go by the numbers of onnx.proto.
class Message {
public:
    Message& number(unsigned field, std::uint64_t value) {
        varint(field << 3);
        varint(value);
        return *this;
    }
    Message& text(unsigned field, std::string_view value) {
        varint(field << 3 | 2);
        varint(value.size());
        bytes_ += value;
        return *this;
    }
    Message& number(unsigned field, float value) {
        varint(field << 3 | 5);
        const char* const bytes = reinterpret_cast<const char*>(&value);
        bytes_.append(bytes, sizeof value);
        return *this;
    }
    Message& message(unsigned field, const Message& value) { return text(field, value.bytes_); }
    const std::string& bytes() const { return bytes_; }

private:
    void varint(std::uint64_t x) {
        for (; x >= 0x80; x >>= 7) bytes_ += static_cast<char>(x | 0x80);
        bytes_ += static_cast<char>(x);
    }

    std::string bytes_;
};

enum class Type : std::uint8_t { f32 = 1, u8 = 2, i8 = 3, i32 = 6, f16 = 10 };

inline std::size_t size_of(Type type) { return type == Type::u8 || type == Type::i8 ? 1 : type == Type::f16 ? 2 : 4; }

/// Without a name it is not given.
struct Tensor {
    std::string name;
    Type type;
};

using Attribute = std::variant<std::uint64_t, float, std::string>;

struct Node {
    std::string op;
    std::vector<std::pair<std::string, Attribute>> attributes;
    std::vector<Tensor> inputs, outputs;
};

inline Message message_of(const std::string& name, const Attribute& attribute) {
    enum Kind : std::uint64_t { f32 = 1, integer = 2, text = 3 };
    Message m = Message().text(1, name);
    if (const float* x = std::get_if<float>(&attribute)) return m.number(2, *x).number(20, f32);
    if (const auto* n = std::get_if<std::uint64_t>(&attribute)) return m.number(3, *n).number(20, integer);
    return m.text(4, std::get<std::string>(attribute)).number(20, text);
}

inline Message value_info(const Tensor& t) {
    const Message tensor = Message().number(1, static_cast<std::uint64_t>(t.type));
    return Message().text(1, t.name).message(2, Message().message(1, tensor));
}

/// A model that is one node of the domain com.microsoft; its inputs and outputs are the node's.
inline std::string model(const Node& n) {
    constexpr std::uint64_t ir_version = 8, opset = 17, own_opset = 1;
    Message node, graph;
    for (const Tensor& t : n.inputs) node.text(1, t.name);
    for (const Tensor& t : n.outputs) node.text(2, t.name);
    node.text(4, n.op).text(7, "com.microsoft");
    for (const auto& [name, value] : n.attributes) node.message(5, message_of(name, value));

    graph.message(1, node).text(2, n.op);
    for (const Tensor& t : n.inputs)
        if (!t.name.empty()) graph.message(11, value_info(t));
    for (const Tensor& t : n.outputs) graph.message(12, value_info(t));
    return Message()
        .number(1, ir_version)
        .message(7, graph)
        .message(8, Message().text(1, "").number(2, opset))
        .message(8, Message().text(1, "com.microsoft").number(2, own_opset))
        .bytes();
}

}  // namespace bench::onnx
