#include "messages.hpp"

ATTENTA_BEGIN

std::string shown(std::string_view text) {
    constexpr std::size_t most = 100;
    const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) == 0x80u; };
    std::size_t length = text.size();
    if (length > most)
        for (length = most; length > 0 && continues(text[length]);) --length;
    std::string result;
    for (const char c : text.substr(0, length)) {
        const auto code = static_cast<unsigned char>(c);
        if (code >= 0x20 && code != 0x7f) {
            result += c;
        } else {
            constexpr char digits[] = "0123456789abcdef";
            result.append("\\x").append(1, digits[code / 16]).append(1, digits[code % 16]);
        }
    }
    return length < text.size() ? result + "..." : result;
}

std::string in_quotes(std::string_view name) { return std::string("'").append(shown(name)).append("'"); }

ATTENTA_END
