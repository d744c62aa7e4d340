#include "report.hpp"

namespace compare {

namespace {

using Json = nlohmann::ordered_json;

Json number(const std::optional<double>& x, double factor = 1) { return x ? Json(*x * factor) : Json(nullptr); }

Json to_json(const Quality& quality, const std::optional<Work>& work, const std::optional<double>& seconds) {
    Json json = {{"error", number(quality.error)}, {"mass", number(quality.mass)}};
    json["flops"] = work ? Json(work->flops) : Json(nullptr);
    json["bytes"] = work ? Json(work->bytes) : Json(nullptr);
    json["gflops"] = work && seconds ? Json(work->flops / *seconds * 1e-9) : Json(nullptr);
    json["gbytes"] = work && seconds ? Json(work->bytes / *seconds * 1e-9) : Json(nullptr);
    return json;
}

Json to_json(const Row& row) {
    const attenta::Mechanism& m = *row.mechanism;
    Json times = Json::array();
    for (const Times& t : row.times)
        times.push_back({{"context", t.context},
                         {"prefill_ms", number(t.prefill, 1e3)},
                         {"decode_us", number(t.decode, 1e6)},
                         {"kept_bytes", number(t.kept)}});
    const Times last = row.times.empty() ? Times{} : row.times.back();
    Json json = {{"name", m.name},     {"family", m.family}, {"summary", m.summary},
                 {"source", m.source}, {"cost", m.cost},     {"times", times}};
    const double tokens = static_cast<double>(last.context);
    json["bytes_per_token"] = number(row.keeps_per_token ? last.kept : std::nullopt, 1 / tokens);
    json["bytes_fixed"] = number(row.keeps_per_token ? std::nullopt : last.kept);
    json["prefill"] = to_json(row.prefill, row.prefill_work, last.prefill);
    json["decode"] = to_json(row.decode, row.decode_work, last.decode);
    json["parameters"] = row.parameters.empty() ? Json::object() : Json::parse(row.parameters);
    json["reason"] = row.reason.empty() ? Json(nullptr) : Json(row.reason);
    return json;
}

}  // namespace

Json to_json(const Comparison& c) {
    Json rows = Json::array();
    for (const Row& row : c.rows) rows.push_back(to_json(row));
    return {{"version", ATTENTA_VERSION},
            {"machine",
             {{"processor", c.machine.processor},
              {"isa", c.machine.isa},
              {"threads", c.machine.threads},
              {"gflops", c.machine.flops * 1e-9},
              {"gbytes", c.machine.bytes * 1e-9},
              {"call_overhead_us", c.machine.call_overhead * 1e6}}},
            {"source", c.source},
            {"shape",
             {{"query_heads", c.query_heads},
              {"kv_heads", c.kv_heads},
              {"dim", c.dim},
              {"value_dim", c.value_dim},
              {"context", c.shape.contexts.back()},
              {"budget", c.shape.budget}}},
            {"mechanisms", rows}};
}

}  // namespace compare
