// A number for bytes, to tell a damaged file.
#pragma once

#include <attenta/core/config.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

ATTENTA_BEGIN

namespace detail {

/// Another number for any other bytes that differ in one place; says nothing against intent. Each step is one to one in the
/// state before it and in its word, so no change of one word is lost.
inline std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t before = 0) {
    std::uint64_t sum = before ^ 0xcbf29ce484222325u;
    for (std::size_t i = 0; i < bytes.size(); i += sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + i, std::min(sizeof word, bytes.size() - i));
        sum = std::rotl((sum ^ word) * 0x9e3779b97f4a7c15u, 29);
    }
    return sum;
}

}  // namespace detail

ATTENTA_END
