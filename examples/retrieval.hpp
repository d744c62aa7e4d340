// Retrieval documents: facts among comments, then questions about them. The bundled model is trained on such.
#pragma once

#include <cstddef>
#include <random>
#include <string>
#include <vector>

namespace retrieval {

struct Document {
    std::string text;
    std::size_t questions = 0;         ///< where they begin
    std::vector<std::size_t> answers;  ///< where the four digits of each answer begin
};

/// A document of `bytes` bytes, at least 256: lines `let NAME=DDDD` and comments in any order, then lines `get NAME=DDDD`.
Document make_document(std::size_t bytes, std::mt19937_64& random);

}  // namespace retrieval
