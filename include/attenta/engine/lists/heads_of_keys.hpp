// Query heads of a group read their lists as one, where each key knows who reads it.
#pragma once

#include <attenta/engine/mask/mask.hpp>

#include <cstdint>

ATTENTA_BEGIN

struct HeadsOfKeys {
    static constexpr std::int64_t most_heads = 16;
    static constexpr std::uint16_t all = 0xffff;

    const std::uint16_t* heads = nullptr;  ///< of each key on the lists: bit n is the n-th query head of the group
    std::int64_t group = 1;
    const std::uint8_t* counted = nullptr;  ///< [sequences] whether its keys are counted on the lists: others show all

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const {
        if (counted[r.sequence] == 0) return;
        const std::int64_t n = r.head % group;
        for (std::int64_t i = 0; i < keys.count; i += 64) {
            const std::int64_t count = keys.count - i < 64 ? keys.count - i : 64;
            std::uint64_t word = 0;
            for (std::int64_t u = 0; u < count; ++u)
                word |= std::uint64_t{static_cast<unsigned>(heads[keys.begin + i + u]) >> n & 1} << u;
            words[i / 64] &= word;
        }
    }
    Cover classify(const QueryRow& a, const QueryRow&, const KeyBlock&) const {
        return counted[a.sequence] == 0 ? Cover::all : Cover::some;
    }
};

ATTENTA_END
