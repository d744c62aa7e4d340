#include <attenta/catalog.hpp>
#include <attenta/core/isa.hpp>

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <optional>
#include <thread>

#include "bench/ruler/roofline.hpp"
#include "commands.hpp"
#include "page_file.hpp"
#include "src/compare/report.hpp"
#include "src/compare/source.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;
using attenta::Error;
using attenta::Mechanism;

std::vector<const Mechanism*> chosen(const CompareOptions& options) {
    std::vector<const Mechanism*> found;
    for (const std::string& name : options.mechanisms)
        for (const Mechanism* m : find(name)) found.push_back(m);
    for (const std::string& family : options.families) {
        const std::size_t before = found.size();
        for (const Mechanism& m : attenta::mechanisms())
            if (m.family == family) found.push_back(&m);
        if (found.size() == before) throw Error("no family '" + family + "', see `attenta list`");
    }
    if (found.empty())
        for (const Mechanism& m : attenta::mechanisms()) found.push_back(&m);
    std::vector<const Mechanism*> in_order;
    for (const Mechanism& m : attenta::mechanisms())
        if (std::find(found.begin(), found.end(), &m) != found.end()) in_order.push_back(&m);
    return in_order;
}

/// What `page` throws, with the option that it is about.
template <class F>
void of_html(const F& page) {
    try {
        page();
    } catch (const Error& e) {
        throw Error(std::string("--html ") + e.what());
    }
}

/// The page replaces what is at its place, which may be none of the files that are read.
void check_is_no_input(const CompareOptions& options) {
    const auto check = [&](const fs::path& input) {
        std::error_code ignored;
        if (fs::equivalent(input, options.html, ignored)) throw Error("--html would overwrite " + input.string());
    };
    for (const std::string& place : {options.q, options.k, options.v}) {
        check(place);
        check(place.substr(0, place.rfind(':')));
    }
    for (const char* name : {"config.json", "model.safetensors", "reference.safetensors"}) check(options.model / name);
}

/// One line on the terminal that says where the comparison is.
class Progress {
public:
    explicit Progress(std::size_t count) : count_(count), on_(isatty(STDERR_FILENO) != 0) {}
    ~Progress() { print(""); }
    void print(const std::string& text) const {
        if (on_) std::cerr << "\r\033[K" << text << std::flush;
    }
    void next(const Mechanism& m) {
        print(std::to_string(++done_) + "/" + std::to_string(count_) + "  " + std::string(m.family) + "/" +
              std::string(m.name));
    }

private:
    std::size_t count_, done_ = 0;
    bool on_;
};

compare::Source source_of(const CompareOptions& options) {
    const compare::SourceFiles files{options.q, options.k, options.v};
    if (files.any()) return compare::file_source(files, options.context.value_or(0), options.heads.value_or(0));
    return compare::model_source(options.model, options.context.value_or(1024), options.heads.value_or(0));
}

void check_at_least_1(const char* name, const std::optional<std::int64_t>& value) {
    if (value && *value < 1)
        throw Error("--" + std::string(name) + " is " + std::to_string(*value) + ", needs 1 or more");
}

/// The context, and half of it, and half of that, as long as there are tokens enough for a time.
compare::Shape shape_of(std::int64_t context, const CompareOptions& options) {
    compare::Shape shape{{}, options.budget.value_or(std::max<std::int64_t>(1, context / 8))};
    if (shape.budget > context)
        throw Error("--budget is " + std::to_string(shape.budget) + ", needs at most the context's " +
                    std::to_string(context));
    for (const std::int64_t part : {8, 4, 2, 1})
        if (context / part >= 64 || part == 1) shape.contexts.push_back(context / part);
    return shape;
}

compare::Comparison compared(const std::vector<const Mechanism*>& mechanisms, const CompareOptions& options) {
    Progress progress(mechanisms.size());
    progress.print("queries, keys and values");
    const compare::Source source = source_of(options);
    compare::Comparison result{.source = source.description,
                               .query_heads = source.q.heads,
                               .kv_heads = source.k.heads,
                               .dim = source.k.dim,
                               .value_dim = source.v.dim,
                               .shape = shape_of(source.tokens(), options)};
    attenta::ThreadPool pool(options.threads);
    attenta::Context context(pool);
    progress.print("what this machine can do");
    const attenta::Isa isa = attenta::active_isa();
    const bench::Limits before = bench::measure_limits(options.threads, isa);
    const double overhead = compare::call_overhead(source, context);
    for (const Mechanism* m : mechanisms) {
        progress.next(*m);
        result.rows.push_back(compare::measure(*m, source, result.shape, context));
    }
    const bench::Limits limits = bench::around(before, bench::measure_limits(options.threads, isa));
    result.machine = {.processor = std::string(attenta::processor_name()),
                      .isa = std::string(name(isa)),
                      .threads = options.threads,
                      .flops = limits.flops,
                      .bytes = limits.bytes,
                      .call_overhead = overhead};
    return result;
}

}  // namespace

int compare(const CompareOptions& options) {
    const std::vector<const Mechanism*> mechanisms = chosen(options);
    check_at_least_1("context", options.context);
    check_at_least_1("heads", options.heads);
    check_at_least_1("budget", options.budget);
    const auto cores = static_cast<int>(std::max(std::thread::hardware_concurrency(), 1u));
    if (options.threads < 1) throw Error("--threads is " + std::to_string(options.threads) + ", needs 1 or more");
    if (options.threads > cores)
        throw Error("--threads is " + std::to_string(options.threads) + ", needs at most the machine's " +
                    std::to_string(cores));
    check_is_no_input(options);
    std::optional<PageFile> page;
    if (!options.html.empty()) of_html([&] { page.emplace(options.html); });
    const compare::Comparison result = compared(mechanisms, options);
    if (page) of_html([&] { page->write(compare::page(result)); });
    if (options.format == Format::json)
        std::cout << compare::to_json(result).dump(2) << '\n';
    else
        compare::print_table(result, std::cout);
    return 0;
}

}  // namespace cli
