#include <cstdio>

#include "report.hpp"
#include "src/cli/text.hpp"

namespace compare {

namespace {

std::string formatted(const char* format, double x) {
    char text[48];
    std::snprintf(text, sizeof text, format, x);
    return text;
}

/// Three digits: 0.0123, 1.23, 12.3, 1234.
std::string three(double x) {
    if (x >= 100 || x == 0) return formatted("%.0f", x);
    return formatted(x >= 10 ? "%.1f" : x >= 1 ? "%.2f" : x >= 1e-3 ? "%.3f" : "%.1e", x);
}

std::string cell(const std::optional<double>& x, double factor = 1) { return x ? three(*x * factor) : "-"; }
std::string share(const std::optional<double>& x) { return x ? formatted("%.1f%%", *x * 100) : "-"; }

std::string kept(const Row& row) {
    if (row.times.empty() || !row.times.back().kept) return "-";
    const Times& last = row.times.back();
    if (row.keeps_per_token) return formatted("%.0f B/token", *last.kept / static_cast<double>(last.context));
    return formatted("%.0f B in all", *last.kept);
}

std::string right(const std::string& text, std::size_t columns) {
    return text.size() < columns ? std::string(columns - text.size(), ' ') + text : text;
}

void print_row(std::ostream& out, const std::string& name, const std::vector<std::string>& cells) {
    constexpr std::size_t widths[] = {11, 11, 18, 10, 11, 9, 11};
    out << cli::padded(name, 32);
    for (std::size_t i = 0; i < cells.size(); ++i) out << right(cells[i], widths[i]);
}

}  // namespace

void print_table(const Comparison& c, std::ostream& out) {
    out << c.source << ": Hq " << c.query_heads << ", Hkv " << c.kv_heads << ", D " << c.dim << ", Dv " << c.value_dim
        << ", context " << c.shape.contexts.back() << ", budget " << c.shape.budget << '\n'
        << c.machine.processor << ", " << c.machine.isa << ", " << c.machine.threads
        << (c.machine.threads == 1 ? " thread" : " threads") << ": " << three(c.machine.flops * 1e-9) << " Gflop/s, "
        << three(c.machine.bytes * 1e-9) << " GB/s; a call through the catalog takes "
        << three(c.machine.call_overhead * 1e6) << " us or more\n\n";
    print_row(out, "", {"prefill ms", "decode us", "kept", "error", "in decode", "mass", "in decode"});
    out << '\n';
    for (const Row& row : c.rows) {
        const Times last = row.times.empty() ? Times{} : row.times.back();
        print_row(out, std::string(row.mechanism->family) + "/" + std::string(row.mechanism->name),
                  {cell(last.prefill, 1e3), cell(last.decode, 1e6), kept(row), cell(row.prefill.error),
                   cell(row.decode.error), share(row.prefill.mass), share(row.decode.mass)});
        out << (row.reason.empty() ? "" : "  " + row.reason) << '\n';
    }
}

}  // namespace compare
