// Retrieval documents: facts first, then questions that can be answered from them.
#include "retrieval.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <regex>
#include <sstream>
#include <string>

namespace {

TEST(RetrievalDocument, AsksForWhatItSaid) {
    const std::regex fact("let ([a-z]{4,6})=([0-9]{4})"), question("get ([a-z]{4,6})=([0-9]{4})"),
        comment("#( [a-z]+){3,9}");
    std::mt19937_64 random(7);
    for (const std::size_t bytes : {256, 512, 1024, 1024, 4096}) {
        const retrieval::Document d = retrieval::make_document(bytes, random);
        ASSERT_EQ(d.text.size(), bytes);
        ASSERT_LT(d.questions, bytes * 3 / 4 + 64);

        std::map<std::string, std::string> facts;
        std::smatch found;
        std::istringstream before(d.text.substr(0, d.questions));
        for (std::string line; std::getline(before, line);)
            if (std::regex_match(line, found, fact))
                EXPECT_TRUE(facts.emplace(found[1], found[2]).second) << line;
            else
                EXPECT_TRUE(std::regex_match(line, comment)) << line;

        std::size_t questions = 0, at = d.questions;
        std::istringstream after(d.text.substr(d.questions));
        for (std::string line; std::getline(after, line); at += line.size() + 1) {
            if (after.eof() && !std::regex_match(line, question)) continue;  // cut
            if (!std::regex_match(line, found, question)) {
                EXPECT_TRUE(std::regex_match(line, comment)) << line;
                continue;
            }
            ASSERT_LT(questions, d.answers.size());
            EXPECT_EQ(d.answers[questions++], at + 5 + static_cast<std::size_t>(found[1].length()));
            EXPECT_EQ(facts.at(found[1]), found[2]) << line;
        }
        EXPECT_EQ(questions, d.answers.size());
        EXPECT_GT(questions, 0u);
    }
}

}  // namespace
