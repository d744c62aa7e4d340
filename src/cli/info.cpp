#include <attenta/core/error.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/engine/common/tuning.hpp>

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <iostream>

#include "commands.hpp"
#include "text.hpp"

namespace cli {

namespace {

using Json = nlohmann::ordered_json;

/// The measured numbers that this processor runs with.
Json describe(const attenta::Tuning& tuning) {
    Json list = Json::array();
    fields(
        [&list](const char* name, auto value, const char* unit) {
            list.push_back({{"name", name}, {"value", value}, {"unit", unit}});
        },
        tuning);
    return {{"name", tuning.name}, {"fields", list}};
}

Json describe() {
    Json isas = Json::array();
    for (int i = 0; i < attenta::isa_count; ++i) {
        const auto isa = static_cast<attenta::Isa>(i);
        isas.push_back(
            {{"name", name(isa)}, {"compiled", attenta::is_compiled(isa)}, {"available", attenta::is_available(isa)}});
    }
    const std::string processor(attenta::processor_name());
    Json info = {{"version", ATTENTA_VERSION},
                 {"processor", processor.empty() ? "unknown" : processor},
                 {"isas", isas},
                 {"tuning", describe(attenta::tuning())}};
    try {
        const char* wish = std::getenv("ATTENTA_ISA");
        info["chosen"] = name(attenta::active_isa());
        info["why"] = wish && *wish ? "ATTENTA_ISA" : "best available";
    } catch (const attenta::Error& e) {
        info["chosen"] = nullptr;
        info["why"] = e.what();
    }
    return info;
}

void print(const Json& info) {
    const auto text = [](const Json& value) { return value.get<std::string>(); };
    std::cout << "attenta    " << text(info["version"]) << "\nprocessor  " << text(info["processor"]) << '\n';
    for (const auto& isa : info["isas"]) {
        const bool available = isa["available"], compiled = isa["compiled"], chosen = isa["name"] == info["chosen"];
        std::cout << padded(text(isa["name"]), 11) << (compiled ? "compiled" : "not compiled")
                  << (available ? ", available" : ", not available")
                  << (chosen ? ", chosen (" + text(info["why"]) + ")" : "") << '\n';
    }
    if (info["chosen"].is_null()) std::cout << "none chosen: " << text(info["why"]) << '\n';
    const Json& tuning = info["tuning"];
    std::cout << "tuning     " << text(tuning["name"]) << '\n';
    for (const auto& field : tuning["fields"]) {
        const std::string unit = text(field["unit"]);
        std::cout << "  " << padded(text(field["name"]), 28) << field["value"] << (unit.empty() ? "" : " " + unit)
                  << '\n';
    }
}

}  // namespace

int info(Format format) {
    const Json info = describe();
    if (format == Format::json)
        std::cout << info.dump(2) << '\n';
    else
        print(info);
    return info["chosen"].is_null() ? 2 : 0;
}

}  // namespace cli
