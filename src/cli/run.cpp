#include <attenta/catalog.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <exception>
#include <iomanip>
#include <iostream>

#include "commands.hpp"
#include "text.hpp"

namespace cli {

namespace {

using attenta::CaseResult;
using attenta::TensorFile;
using Json = nlohmann::ordered_json;
using Verdict = CaseResult::Verdict;

/// A file's result, or why there is none.
struct Report {
    std::filesystem::path file;
    CaseResult result;
    std::string error;

    int exit_code() const { return !error.empty() ? 2 : result.verdict == Verdict::ok ? 0 : 1; }
};

const char* word(Verdict verdict) {
    return verdict == Verdict::ok ? "ok" : verdict == Verdict::fail ? "FAIL" : "missing";
}

/// The outputs under the names of a case, with all that says where they come from.
void save(const TensorFile& input, const CaseResult& result, const std::filesystem::path& out) {
    TensorFile file;
    file.metadata = input.metadata;
    for (const auto& [name, tensor] : result.outputs) file.tensors["out." + name] = tensor;
    file.save(out);
}

CaseResult run(const std::filesystem::path& path, const TensorFile& file) {
    try {
        return attenta::run_case(file, path.stem().string());
    } catch (const std::exception& e) {
        throw attenta::Error(path.string() + ": " + e.what());
    }
}

Report report(const std::filesystem::path& path, const std::filesystem::path& out) {
    Report r{path, {}, {}};
    try {
        const TensorFile file = TensorFile::load(path);
        r.result = run(path, file);
        if (!out.empty() && r.result.verdict != Verdict::missing) save(file, r.result, out);
    } catch (const std::exception& e) {
        r.error = e.what();
    }
    return r;
}

Json to_json(const Report& r) {
    Json json = {{"file", r.file.string()}};
    if (!r.error.empty()) {
        json.update({{"verdict", "error"}, {"reason", r.error}});
        return json;
    }
    json.update({{"verdict", word(r.result.verdict)}, {"name", r.result.name}, {"compared", r.result.compared}});
    // An infinity becomes null.
    if (r.result.compared) json.update({{"max_abs", r.result.max_abs}, {"max_rel", r.result.max_rel}});
    if (!r.result.reason.empty()) json["reason"] = r.result.reason;
    return json;
}

void print(const Report& r) {
    if (!r.error.empty()) {
        std::cerr << "attenta: " << r.error << '\n';
        return;
    }
    const CaseResult& c = r.result;
    std::cout << padded(word(c.verdict), 8) << (c.verdict == Verdict::missing ? c.name : padded(c.name, 56));
    if (c.compared)
        std::cout << std::scientific << std::setprecision(2) << c.max_abs << ' ' << c.max_rel;
    else if (c.verdict == Verdict::ok)
        std::cout << "not compared: no out.* in the file";
    std::cout << (c.reason.empty() ? "" : "  " + c.reason) << std::endl;
}

}  // namespace

int run(const RunOptions& options) {
    if (!options.out.empty()) {
        std::error_code ignored;
        if (options.files.size() != 1) throw attenta::Error("--out needs exactly one FILE");
        if (std::filesystem::equivalent(options.files[0], options.out, ignored))
            throw attenta::Error("--out would overwrite FILE");
    }
    Json reports = Json::array();
    int code = 0;
    for (const auto& path : options.files) {
        const Report r = report(path, options.out);
        code = std::max(code, r.exit_code());
        if (options.format == Format::json)
            reports.push_back(to_json(r));
        else
            print(r);
    }
    if (options.format == Format::json)
        std::cout << reports.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    return code;
}

}  // namespace cli
