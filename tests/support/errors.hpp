// Refused calls and what their messages say.
#pragma once

#include <attenta/core/error.hpp>

#include <gtest/gtest.h>

#include <cctype>
#include <initializer_list>
#include <string>
#include <string_view>

namespace attenta_test {

/// `word` stands in `text`, not as a part of a longer name or number.
inline bool mentions(std::string_view text, std::string_view word) {
    const auto part_of_name = [&](std::size_t i) {
        return i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) || text[i] == '_');
    };
    for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1))
        if ((at == 0 || !part_of_name(at - 1)) && !part_of_name(at + word.size())) return true;
    return false;
}

/// `call` throws Error with a message that mentions all the words: function, argument, what came, what was expected.
template <class F>
testing::AssertionResult refuses(F&& call, std::initializer_list<std::string_view> words) {
    try {
        call();
    } catch (const attenta::Error& e) {
        for (const std::string_view word : words)
            if (!mentions(e.what(), word))
                return testing::AssertionFailure() << "\"" << e.what() << "\" does not mention " << word;
        return testing::AssertionSuccess();
    }
    return testing::AssertionFailure() << "nothing was thrown";
}

}  // namespace attenta_test
