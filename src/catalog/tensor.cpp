#include <attenta/catalog.hpp>

#include <algorithm>
#include <iterator>
#include <limits>
#include <new>

#include "tensor_type.hpp"

ATTENTA_BEGIN

namespace {

/// A type of the format; in the order of TensorType.
struct Element {
    std::string_view name;
    std::int64_t bits;
};

constexpr Element element_types[] = {
    {"F64", 64},        {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"I64", 64},    {"I32", 32},
    {"U8", 8},          {"BOOL", 8},    {"I8", 8},      {"I16", 16},    {"U16", 16},    {"U32", 32},
    {"U64", 64},        {"C64", 64},    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4}};
static_assert(std::size(element_types) == tensor_types);

}  // namespace

std::string_view name(TensorType type) { return element_types[static_cast<int>(type)].name; }
std::int64_t bits_of(TensorType type) { return element_types[static_cast<int>(type)].bits; }

std::optional<std::int64_t> byte_count(TensorType type, std::span<const std::int64_t> shape) {
    constexpr auto limit = std::numeric_limits<std::ptrdiff_t>::max();
    std::int64_t extent = bits_of(type);
    bool empty = false;
    for (const std::int64_t n : shape) {
        if (n < 0) return std::nullopt;
        if (n == 0) empty = true;
        // Zeros do not count here: strides of an empty tensor must not overflow either.
        if (n > 0 && extent > limit / n) return std::nullopt;
        extent *= std::max<std::int64_t>(n, 1);
    }
    if (empty) return 0;
    if (extent % 8 != 0) return std::nullopt;
    return extent / 8;
}

std::string to_text(std::span<const std::int64_t> shape) {
    constexpr std::size_t most = 12;
    std::string text = "[";
    for (const std::int64_t n : shape.first(std::min(shape.size(), most)))
        text += (text.size() > 1 ? ", " : "") + std::to_string(n);
    return text + (shape.size() > most ? ", ...]" : "]");
}

std::int64_t Tensor::size() const { return static_cast<std::int64_t>(bytes.size()) * 8 / bits_of(type); }

template <class T>
std::span<const T> Tensor::as() const {
    if (type != tensor_type_of<T>)
        fail("Tensor::as",
             "the tensor is " + std::string(name(type)) + ", not " + std::string(name(tensor_type_of<T>)));
    return {reinterpret_cast<const T*>(bytes.data()), static_cast<std::size_t>(size())};
}

template <class T>
std::span<T> Tensor::as() {
    const std::span<const T> elements = std::as_const(*this).as<T>();
    return {const_cast<T*>(elements.data()), elements.size()};
}

#define ATTENTA_TENSOR_AS(T)                           \
    template std::span<const T> Tensor::as<T>() const; \
    template std::span<T> Tensor::as<T>();
ATTENTA_TENSOR_AS(double)
ATTENTA_TENSOR_AS(float)
ATTENTA_TENSOR_AS(float16)
ATTENTA_TENSOR_AS(bfloat16)
ATTENTA_TENSOR_AS(std::int64_t)
ATTENTA_TENSOR_AS(std::int32_t)
ATTENTA_TENSOR_AS(std::uint8_t)
ATTENTA_TENSOR_AS(bool)
#undef ATTENTA_TENSOR_AS

std::vector<float> Tensor::to_float() const {
    const auto convert = [](const auto& elements) {
        std::vector<float> floats(elements.size());
        std::transform(elements.begin(), elements.end(), floats.begin(), [](auto x) { return static_cast<float>(x); });
        return floats;
    };
    switch (type) {
        case TensorType::f64:
            return convert(as<double>());
        case TensorType::f32:
            return convert(as<float>());
        case TensorType::f16:
            return convert(as<float16>());
        case TensorType::bf16:
            return convert(as<bfloat16>());
        default:
            fail("Tensor::to_float", "the tensor is " + std::string(name(type)) + ", needs F64, F32, F16 or BF16");
    }
}

Tensor Tensor::zeros(TensorType type, std::vector<std::int64_t> shape) {
    const auto bytes = byte_count(type, shape);
    if (!bytes) fail("Tensor::zeros", "no memory holds the shape " + to_text(shape));
    try {
        std::vector<std::byte> zeros(static_cast<std::size_t>(*bytes));
        return {type, std::move(shape), std::move(zeros)};
    } catch (const std::bad_alloc&) {
        fail("Tensor::zeros", "no memory for the shape " + to_text(shape));
    }
}

ATTENTA_END
