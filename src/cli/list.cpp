#include <attenta/catalog.hpp>

#include <nlohmann/json.hpp>

#include <iostream>

#include "commands.hpp"
#include "text.hpp"

namespace cli {

namespace {

using attenta::Mechanism;
using Json = nlohmann::ordered_json;

Json to_json(const Mechanism& m) {
    Json parameters = Json::array();
    for (const auto& p : m.parameters())
        parameters.push_back(
            {{"name", p.name}, {"type", p.type}, {"default", Json::parse(p.default_value)}, {"help", p.help}});
    return {{"name", m.name}, {"family", m.family}, {"summary", m.summary}, {"source", m.source},
            {"cost", m.cost}, {"inputs", m.inputs}, {"outputs", m.outputs}, {"parameters", parameters}};
}

std::string escaped(std::string_view text) {
    std::string cell;
    for (const char c : text) cell += c == '|' ? std::string("\\|") : std::string(1, c);
    return cell;
}

void print_markdown(std::span<const Mechanism> rows) {
    std::cout << "| mechanism | family | what | paper | cost |\n|---|---|---|---|---|\n";
    for (const auto& m : rows)
        std::cout << "| `" << m.name << "` | " << m.family << " | " << escaped(m.summary) << " | " << escaped(m.source)
                  << " | " << escaped(m.cost) << " |\n";
}

void print_text(std::span<const Mechanism> rows) {
    for (const auto& m : rows)
        std::cout << padded(std::string(m.family) + "/" + std::string(m.name), 32) << m.summary << '\n'
                  << padded("", 32) << m.source << '\n'
                  << padded("", 32) << m.cost << '\n';
}

void print_text(const Mechanism& m) {
    std::cout << m.family << '/' << m.name << "\n  " << m.summary << "\n\n"
              << "  paper    " << m.source << "\n  cost     " << m.cost << "\n  inputs   " << m.inputs
              << "\n  outputs  " << m.outputs << '\n';
    const auto parameters = m.parameters();
    if (!parameters.empty()) std::cout << "\n  parameters\n";
    for (const auto& p : parameters)
        std::cout << "    " << padded(std::string(p.name), 16) << padded(std::string(p.type), 18)
                  << padded(p.default_value, 8) << p.help << '\n';
}

}  // namespace

std::vector<const Mechanism*> find(std::string_view name) {
    std::vector<const Mechanism*> found;
    for (const auto& m : attenta::mechanisms())
        if (name == m.name || name == std::string(m.family) + "/" + std::string(m.name)) found.push_back(&m);
    if (found.empty()) throw attenta::Error("no mechanism '" + std::string(name) + "', see `attenta list`");
    return found;
}

int list(Format format) {
    const auto rows = attenta::mechanisms();
    if (format == Format::json) {
        Json all = Json::array();
        for (const auto& m : rows) all.push_back(to_json(m));
        std::cout << all.dump(2) << '\n';
    } else if (format == Format::markdown) {
        print_markdown(rows);
    } else {
        print_text(rows);
    }
    return 0;
}

int show(const std::string& name, Format format) {
    for (const Mechanism* m : find(name)) {
        if (format == Format::json)
            std::cout << to_json(*m).dump(2) << '\n';
        else
            print_text(*m);
    }
    return 0;
}

}  // namespace cli
