#include <attenta/core/config.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <iostream>

#include "commands.hpp"

namespace {

/// Adds --json, and --markdown where a table makes sense.
void add_format(CLI::App& command, cli::Format& format, bool markdown = false) {
    const auto add_flag = [&](const char* flag, cli::Format value, const char* help) {
        return command.add_flag_callback(
            flag, [&format, value] { format = value; }, help);
    };
    auto* json = add_flag("--json", cli::Format::json, "Print JSON");
    if (markdown) add_flag("--markdown", cli::Format::markdown, "Print a Markdown table")->excludes(json);
}

constexpr const char* run_help =
    R"(A FILE is a .safetensors file with tensors in.* (inputs) and out.* (expected outputs, as many as there are) and
metadata family, mechanism, params (a JSON object, default {}), atol (default 2e-5), rtol (default 2e-4).
The options take the place of the metadata: a file without any needs --mechanism. If no tensor is called in.* or out.*,
each is the input of that name (`attenta show` lists them), or else the output to compare with:
  attenta run --mechanism softmax --set causal=true FILE    # tensors q, k, v and, to compare, o
A line per file: ok | FAIL | ran (nothing to compare with) | missing (not in the catalog), family/mechanism/case,
largest absolute and relative difference.
Exit code: 0 all ok or ran; 1 a case failed or its mechanism is missing; 2 a file is damaged, foreign or refused, or the
results could not be written.)";

constexpr const char* view_help =
    R"(FILE is a .safetensors file with tensors in.q [Hq, Tq, D] and in.k [Hkv, Tk, D], or in.attn [L, H, Tq, Tk], with or
without "in."; the case's params (scale, causal, windows) hold, --set takes their place. MODEL is a folder with config.json
and model.safetensors; without either, the bundled model reads the prompt, whose bytes are its tokens.
  attenta view --prompt "let kavo=4821 get kavo=" --policy h2o --budget 16 --selection quest:page_size=8:top_pages=2
  attenta view --set causal=true FILE
Exit code: 0, or 2 where there is nothing to view or the page cannot be written; an old page is left as it was then.)";

void add_view(CLI::App& app, cli::ViewOptions& o, int& code) {
    auto* view = app.add_subcommand("view", "Draws attention weights as a page of HTML");
    view->add_option("FILE|MODEL", o.source, "case or model");
    view->add_option("-o,--out", o.out, "The page")->capture_default_str();
    auto* prompt = view->add_option("--prompt", o.prompt, "Text for a model whose tokens are bytes");
    auto* file = view->add_option("--file", o.prompt_file, "The text from a file")->excludes(prompt);
    view->add_option("--prompt-ids", o.prompt_ids, "Token numbers for any other model: 1,2,3")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->excludes(prompt)
        ->excludes(file);
    view->add_option("--layers", o.settings.layers, "Layers to show, all by default: 0,2")
        ->delimiter(',')
        ->allow_extra_args(false);
    view->add_option("--pool", o.settings.most_tiles,
                     "Tiles on a side of a head, at most; 256 where the page stays small");
    auto* policy =
        view->add_option("--policy", o.settings.policies, "Eviction policies whose kept tokens are shown: h2o,snapkv")
            ->delimiter(',')
            ->allow_extra_args(false)
            ->check(CLI::IsMember(view::policy_names()));
    view->add_option("--budget", o.settings.budget, "Tokens that a policy keeps, a quarter by default")
        ->needs(policy)
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40, "TOKENS"));
    view->add_option("--prefill", o.settings.prefill, "Tokens that a policy reads at once, half by default")
        ->needs(policy)
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40, "TOKENS"));
    view->add_option("--selection", o.settings.selections,
                     "Sparse mechanism whose keys are shown, with its parameters; repeatable")
        ->type_name("NAME[:PARAMETER=VALUE]...")
        ->allow_extra_args(false);
    view->add_option("--set", o.parameters, "Parameter of a case, as in run; repeatable")
        ->type_name("NAME=VALUE")
        ->allow_extra_args(false);
    view->footer(view_help);
    view->callback([&] { code = cli::view(o); });
}

constexpr const char* compare_help =
    R"(Every mechanism of the catalog on the same queries, keys and values. Without files they are what the bundled model makes
of its reference document in its middle layer; a longer context repeats the document, further heads are those of the
other layers. FILE is a .safetensors file, FILE:TENSOR one of its tensors, [H, T, D] or [1, H, T, D].

  prefill    the whole context at once, ms      decode  one more token behind it, us
  kept       what is left for the next token: bytes for each token of the context, or in all
  error      |o - o*| / |o*| against exact attention o*, of mechanisms that approximate it: of prefill, and of the last
             queries of the context
  mass       the share of exact attention that falls on the keys that are read, where keys are chosen

A time is the median of some runs after a first one. It contains finding the inputs by name and making the output; decode
of the family linear is the function alone, that of cache policies the mean of the last quarter of the tokens. Prefill of
cache policies is their own work on the prompt, without attention.
Parameters that a budget determines, and tensors that a mechanism needs beside q, k, v, are chosen for the shape at hand:
--json shows the parameters, gates and weights are drawn as models have them. Exit code: 0, or 2 for input that could
not be used.)";

/// Adds `attenta compare`, which leaves its exit code in `code`.
void add_compare(CLI::App& app, cli::CompareOptions& options, int& code) {
    auto* compare = app.add_subcommand("compare", "Compares the mechanisms: time, memory, error");
    options.model = ATTENTA_MODEL;
    compare->add_option("--mechanism", options.mechanisms, "Mechanism or family/mechanism alone; repeatable")
        ->allow_extra_args(false);
    compare->add_option("--family", options.families, "Family alone; repeatable")->allow_extra_args(false);
    compare->add_option("--context", options.context, "Tokens, default 1024 or those of the files");
    compare->add_option("--heads", options.heads, "Query heads, default those of the model's layer or of the files");
    compare->add_option("--budget", options.budget,
                        "Keys of a query where they are chosen, default 1/8 of the context");
    auto* const q = compare->add_option("--q", options.q, "Queries")->type_name("FILE[:TENSOR]");
    auto* const k = compare->add_option("--k", options.k, "Keys")->type_name("FILE[:TENSOR]");
    auto* const v = compare->add_option("--v", options.v, "Values")->type_name("FILE[:TENSOR]");
    compare->add_option("--model", options.model, "Directory of a Llama with reference.safetensors")
        ->type_name("DIR")
        ->excludes(q, k, v);
    compare->add_option("--threads", options.threads, "Threads, default 1");
    compare->add_option("--html", options.html, "Write a page with plots here")->type_name("FILE");
    add_format(*compare, options.format);
    compare->footer(compare_help);
    compare->callback([&options, &code] { code = cli::compare(options); });
}

/// An empty text is a variable of a script that was not set: nobody means it.
void refuse_empty(CLI::App& app) {
    for (CLI::Option* option : app.get_options([](const CLI::Option* o) { return o->get_expected_max() > 0; }))
        option->check(CLI::Validator(
            [](const std::string& text) { return text.empty() ? std::string("is empty") : std::string(); }, ""));
    for (CLI::App* command : app.get_subcommands({})) refuse_empty(*command);
}

int attenta_program(int argc, char** argv) {
    CLI::App app("attenta: CPU attention kernels");
    app.set_version_flag("--version", ATTENTA_VERSION);
    app.require_subcommand(1);
    cli::Format format = cli::Format::text;
    int code = 0;

    auto* list = app.add_subcommand("list", "Lists the mechanisms: family, paper, cost");
    add_format(*list, format, true);
    list->callback([&] { code = cli::list(format); });

    std::string name;
    auto* show = app.add_subcommand("show", "Shows a mechanism: inputs, outputs, parameters");
    show->add_option("NAME", name, "mechanism or family/mechanism")->required();
    add_format(*show, format);
    show->callback([&] { code = cli::show(name, format); });

    auto* info = app.add_subcommand("info", "Shows version, processor and instruction sets");
    add_format(*info, format);
    info->callback([&] { code = cli::info(format); });

    cli::RunOptions options;
    auto* run = app.add_subcommand("run", "Runs cases and compares their results");
    run->add_option("FILE", options.files, "cases")->required();
    run->add_option("--mechanism", options.mechanism,
                    "Mechanism or family/mechanism to run, whatever the metadata names");
    run->add_option("--set", options.parameters,
                    "Parameter NAME=VALUE, whatever params says; VALUE is JSON, or else a string; repeatable")
        ->type_name("NAME=VALUE")
        ->allow_extra_args(false);
    run->add_option("--atol", options.atol, "Absolute tolerance");
    run->add_option("--rtol", options.rtol, "Relative tolerance");
    run->add_option("--out", options.out, "Write the results of a single FILE here, tensors out.*");
    add_format(*run, options.format);
    run->footer(run_help);
    run->callback([&] { code = cli::run(options); });

    cli::ViewOptions view;
    add_view(app, view, code);

    cli::CompareOptions compare_options;
    add_compare(app, compare_options, code);
    refuse_empty(app);

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
    }
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const int code = attenta_program(argc, argv);
        // A full disk may show only now.
        if (std::cout.flush()) return code;
        std::fputs("attenta: the standard output cannot be written\n", stderr);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "attenta: %s\n", e.what());
    }
    return 2;
}
