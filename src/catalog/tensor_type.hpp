// Element types of tensors, their sizes and shapes.
#pragma once

#include <attenta/catalog.hpp>

#include <optional>
#include <span>
#include <string>

ATTENTA_BEGIN

template <class T>
inline constexpr TensorType tensor_type_of = T::no_such_tensor_type;
template <>
inline constexpr TensorType tensor_type_of<double> = TensorType::f64;
template <>
inline constexpr TensorType tensor_type_of<float> = TensorType::f32;
template <>
inline constexpr TensorType tensor_type_of<float16> = TensorType::f16;
template <>
inline constexpr TensorType tensor_type_of<bfloat16> = TensorType::bf16;
template <>
inline constexpr TensorType tensor_type_of<std::int64_t> = TensorType::i64;
template <>
inline constexpr TensorType tensor_type_of<std::int32_t> = TensorType::i32;
template <>
inline constexpr TensorType tensor_type_of<std::uint8_t> = TensorType::u8;
template <>
inline constexpr TensorType tensor_type_of<bool> = TensorType::boolean;

inline constexpr int tensor_types = static_cast<int>(TensorType::f4) + 1;

/// Of the types whose elements can be taken.
constexpr bool is_floating(TensorType type) { return type <= TensorType::bf16; }

/// Bytes of a tensor; empty for a shape that is negative, overflows or ends inside a byte.
std::optional<std::int64_t> byte_count(TensorType type, std::span<const std::int64_t> shape);

/// The tensor has the bytes that its shape needs.
inline bool is_sound(const Tensor& t) {
    return byte_count(t.type, t.shape) == static_cast<std::int64_t>(t.bytes.size());
}

/// "[2, 17, 64]"
std::string to_text(std::span<const std::int64_t> shape);

ATTENTA_END
