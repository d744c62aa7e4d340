#include "retrieval.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <utility>

namespace retrieval {
namespace {

class Writer {
public:
    explicit Writer(std::mt19937_64& random) : random_(random) {}

    std::size_t between(std::size_t first, std::size_t last) {
        return std::uniform_int_distribution<std::size_t>(first, last)(random_);
    }
    bool with_probability(double p) { return std::bernoulli_distribution(p)(random_); }
    template <class List>
    const auto& one_of(const List& list) {
        return list[between(0, std::size(list) - 1)];
    }
    void shuffle(std::vector<std::string>& lines) { std::shuffle(lines.begin(), lines.end(), random_); }

    std::string name() {
        std::string s;
        for (std::size_t n = between(2, 3); n > 0; --n) {
            s += one_of(std::string_view("bdfgklmnprstvz"));
            s += one_of(std::string_view("aeiou"));
        }
        return s;
    }
    std::string digits() {
        std::string s;
        for (int i = 0; i < 4; ++i) s += one_of(std::string_view("0123456789"));
        return s;
    }
    std::string comment() {
        using namespace std::string_view_literals;
        static constexpr std::array words = {
            "the"sv,  "log"sv,    "was"sv,   "read"sv,  "by"sv,    "each"sv, "worker"sv, "before"sv,
            "it"sv,   "moved"sv,  "on"sv,    "queue"sv, "state"sv, "is"sv,   "open"sv,   "and"sv,
            "then"sv, "closed"sv, "after"sv, "a"sv,     "short"sv, "wait"sv, "no"sv,     "other"sv,
            "task"sv, "may"sv,    "run"sv,   "here"sv,  "until"sv, "this"sv, "one"sv,    "ends"sv};
        std::string line = "#";
        for (std::size_t n = between(3, 9); n > 0; --n) line.append(" ").append(one_of(words));
        return line + '\n';
    }

private:
    std::mt19937_64& random_;
};

}  // namespace

Document make_document(std::size_t bytes, std::mt19937_64& random) {
    Writer write(random);
    const std::size_t least = std::clamp<std::size_t>(bytes / 48, 2, 6);
    const std::size_t count = write.between(least, std::max(least + 1, bytes / 48));
    std::map<std::string, std::string> facts;
    while (facts.size() < count) facts.emplace(write.name(), write.digits());

    std::vector<std::string> lines;
    std::size_t length = 0;
    const auto add = [&](std::string line) {
        length += line.size();
        lines.push_back(std::move(line));
    };
    for (const auto& [name, digits] : facts) add("let " + name + '=' + digits + '\n');
    const std::size_t share = write.one_of(std::array<std::size_t, 3>{25, 50, 70});
    while (length * 100 < share * bytes) add(write.comment());
    write.shuffle(lines);

    Document d;
    for (const std::string& line : lines) d.text += line;
    d.questions = d.text.size();
    const std::vector<std::pair<std::string, std::string>> known(facts.begin(), facts.end());
    while (d.text.size() < bytes) {
        const auto& [name, digits] = write.one_of(known);
        d.text.append("get ").append(name).append("=");
        if (d.text.size() + digits.size() <= bytes) d.answers.push_back(d.text.size());
        d.text.append(digits).append("\n");
        if (write.with_probability(0.15)) d.text += write.comment();
    }
    d.text.resize(bytes);
    return d;
}

}  // namespace retrieval
