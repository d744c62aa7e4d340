// A comparison as a table, as JSON and as a page of HTML.
#pragma once

#include <nlohmann/json.hpp>

#include <ostream>
#include <string>
#include <vector>

#include "measure.hpp"

namespace compare {

/// What this machine gives, measured beside the mechanisms.
struct Machine {
    std::string processor, isa;
    int threads = 1;
    double flops = 0, bytes = 0;  ///< per second
    double call_overhead = 0;     ///< seconds of the cheapest call through the catalog
};

struct Comparison {
    Machine machine = {};
    std::string source;
    std::int64_t query_heads = 0, kv_heads = 0, dim = 0, value_dim = 0;
    Shape shape;
    std::vector<Row> rows = {};
};

/// Times say their unit in their names, sizes are bytes, rates 1e9 a second; what there is not is null.
nlohmann::ordered_json to_json(const Comparison& comparison);
void print_table(const Comparison& comparison, std::ostream& out);
/// One file that needs no other, nor a network.
std::string page(const Comparison& comparison);

}  // namespace compare
