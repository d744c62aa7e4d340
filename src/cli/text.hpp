// Columns of text.
#pragma once

#include <algorithm>
#include <string>

namespace cli {

/// `text` and spaces up to `columns` characters of UTF-8, and always one.
inline std::string padded(std::string text, std::size_t columns) {
    const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) == 0x80u; };
    const auto width = text.size() - static_cast<std::size_t>(std::count_if(text.begin(), text.end(), continues));
    return text.append(width < columns ? columns - width : 1, ' ');
}

}  // namespace cli
