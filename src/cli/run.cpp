#include <attenta/catalog.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <exception>
#include <iomanip>
#include <iostream>
#include <new>

#include "commands.hpp"
#include "text.hpp"

namespace cli {

namespace {

using attenta::CaseResult;
using attenta::CaseSettings;
using attenta::TensorFile;
using Json = nlohmann::ordered_json;
using Verdict = CaseResult::Verdict;

/// A file's result, or why there is none.
struct Report {
    std::filesystem::path file;
    CaseResult result;
    std::string error;

    int exit_code() const { return !error.empty() ? 2 : result.verdict <= Verdict::ran ? 0 : 1; }
};

const char* word(Verdict verdict) {
    constexpr const char* words[] = {"ok", "ran", "FAIL", "missing"};
    return words[static_cast<int>(verdict)];
}

bool compared(const CaseResult& result) { return result.verdict == Verdict::ok || result.verdict == Verdict::fail; }

/// The outputs under the names of a case, with all that says where they come from.
void save(const TensorFile& input, const CaseResult& result, const std::filesystem::path& out) {
    TensorFile file;
    file.metadata = input.metadata;
    for (const auto& [name, tensor] : result.outputs) file.tensors["out." + name] = tensor;
    file.save(out);
}

/// Makes a case of the file and runs it; what that throws names the file.
CaseResult run(const std::filesystem::path& path, TensorFile& file, const CaseSettings& settings) {
    try {
        file = attenta::make_case(std::move(file), settings);
        return attenta::run_case(file, path.stem().string());
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception& e) {
        throw attenta::Error(path.string() + ": " + e.what());
    }
}

Report report(const std::filesystem::path& path, const CaseSettings& settings, const std::filesystem::path& out) {
    Report r{path, {}, {}};
    try {
        TensorFile file = TensorFile::load(path);
        r.result = run(path, file, settings);
        if (!out.empty() && r.result.verdict != Verdict::missing) save(file, r.result, out);
    } catch (const std::bad_alloc&) {
        r.error = path.string() + ": not enough memory";
    } catch (const std::exception& e) {
        r.error = e.what();
    }
    return r;
}

CaseSettings settings_of(const RunOptions& options) {
    CaseSettings settings{.atol = options.atol, .rtol = options.rtol};
    if (!options.mechanism.empty()) {
        const auto found = find(options.mechanism);
        if (found.size() > 1) throw attenta::Error("--mechanism needs one of the families of " + options.mechanism);
        settings.mechanism = found[0];
    }
    for (const std::string& parameter : options.parameters) {
        const std::size_t end = parameter.find('=');
        if (end == 0 || end == std::string::npos)
            throw attenta::Error("--set is '" + parameter + "', needs NAME=VALUE");
        if (!settings.parameters.emplace(parameter.substr(0, end), parameter.substr(end + 1)).second)
            throw attenta::Error("--set names '" + parameter.substr(0, end) + "' twice");
    }
    return settings;
}

/// "o [3, 17, 24], lse [3, 17]"
std::string listed(const attenta::Tensors& tensors) {
    std::string text;
    for (const auto& [name, tensor] : tensors) {
        std::string shape;
        for (const std::int64_t n : tensor.shape) shape += (shape.empty() ? "" : ", ") + std::to_string(n);
        text += (text.empty() ? "" : ", ") + name + " [" + shape + "]";
    }
    return text;
}

std::string joined(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
}

Json to_json(const Report& r) {
    Json json = {{"file", r.file.string()}};
    if (!r.error.empty()) {
        json.update({{"verdict", "error"}, {"reason", r.error}});
        return json;
    }
    const CaseResult& c = r.result;
    json.update({{"verdict", word(c.verdict)}, {"name", c.name}, {"compared", compared(c)}});
    // An infinity becomes null.
    if (compared(c)) json.update({{"max_abs", c.max_abs}, {"max_rel", c.max_rel}});
    for (const auto& [name, tensor] : c.outputs) json["outputs"][name] = tensor.shape;
    if (!c.not_compared.empty()) json["not_compared"] = c.not_compared;
    if (!c.reason.empty()) json["reason"] = c.reason;
    return json;
}

void print(const Report& r) {
    if (!r.error.empty()) {
        std::cerr << "attenta: " << r.error << '\n';
        return;
    }
    const CaseResult& c = r.result;
    std::cout << padded(word(c.verdict), 8) << (c.verdict == Verdict::missing ? c.name : padded(c.name, 56));
    if (compared(c)) std::cout << std::scientific << std::setprecision(2) << c.max_abs << ' ' << c.max_rel;
    if (c.verdict == Verdict::ran)
        std::cout << "nothing to compare with: " << listed(c.outputs);
    else if (!c.not_compared.empty())
        std::cout << "  not compared: " << joined(c.not_compared);
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
    const CaseSettings settings = settings_of(options);
    Json reports = Json::array();
    int code = 0;
    for (const auto& path : options.files) {
        const Report r = report(path, settings, options.out);
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
