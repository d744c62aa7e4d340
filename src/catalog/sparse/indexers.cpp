#include <attenta/sparse/indexers/compressed.hpp>
#include <attenta/sparse/indexers/dsa.hpp>
#include <attenta/sparse/indexers/msa.hpp>
#include <attenta/sparse/indexers/qsa.hpp>

#include <algorithm>
#include <string>

#include "../sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_dsa(Arguments& args, Context& context) {
    const auto x = args.inputs<DsaInputs>();
    const auto options = args.options<DsaOptions>();
    KeyLists lists;
    DsaOutputs out{sparse_outputs(args, x.q, x.kv), args.output<float>("index_score", {x.q.tokens, x.kv.length(0)})};
    out.lists = &lists;
    dsa(x, out, options, context);
    give_index(args, "index", lists, options.top_k, {}, true);
}

void call_msa(Arguments& args, Context& context) {
    call_selecting<&msa>(args, context, [&](const KeyLists& lists, const MsaOptions& options) {
        give_index(args, "index", lists, options.top_k, {.unit = options.block_size});
    });
}

/// The tail behind the complete blocks is no part of the index.
void call_qsa(Arguments& args, Context& context) {
    call_selecting<&qsa>(args, context, [&](const KeyLists& lists, const QsaOptions& options) {
        const auto complete = [](std::int64_t position, std::int64_t ratio) { return (position + 1) / ratio * ratio; };
        give_index(args, "index", lists, options.budget / options.ratio,
                   {.unit = options.ratio, .end = complete, .parameter = options.ratio}, true);
    });
}

/// What a case has: entries and index keys, or what they are pooled from; v where it is not k.
struct CompressedCase : CompressedInputs {
    Matrices<const float> c_kv = {}, c_gate = {}, c_bias = {}, i_kv = {}, i_gate = {}, i_bias = {};
    std::span<const float> c_norm = {}, i_norm = {}, i_freq = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        others(visit, x);
        visit("c_kv", x.c_kv, "[Tk, Dc]", Input::optional);
        visit("c_gate", x.c_gate, "[Tk, Dc]", Input::optional);
        visit("c_bias", x.c_bias, "[rate, Dc]", Input::optional);
        visit("c_norm", x.c_norm, "[D]", Input::optional);
        visit("i_kv", x.i_kv, "[Tk, Dj]", Input::optional);
        visit("i_gate", x.i_gate, "[Tk, Dj]", Input::optional);
        visit("i_bias", x.i_bias, "[rate, Dj]", Input::optional);
        visit("i_norm", x.i_norm, "[Di]", Input::optional);
        visit("i_freq", x.i_freq, "[mi]", Input::optional);
    }
};

struct CompressedCaseOptions : CompressedOptions {
    bool overlap = false;
    float eps = 1e-6f;

    static void fields(auto&& visit, auto& o) {
        CompressedOptions::fields(visit, o);
        visit("overlap", o.overlap, "entries pool two windows, each half of the channels");
        visit("eps", o.eps, "of the norm of entries");
    }
};

/// Entries of all tokens.
CompressedEntries pooled(Arguments& args, std::string_view prefix, const Matrices<const float>& kv,
                         const Matrices<const float>& gate, const CompressedEntries::Form& form, Context& context) {
    for (const char* name : {"kv", "gate", "bias", "norm"})
        if (const std::string input = std::string(prefix) + name; !args.has(input))
            args.refuse("input '" + input + "' is missing, entries are pooled from it");
    CompressedEntries entries(form);
    entries.append(kv, gate, context);
    return entries;
}

void call_compressed(Arguments& args, Context& context) {
    auto x = args.inputs<CompressedCase>();
    x.kv = args.kv("k", args.has("v") ? "v" : "k");
    const auto options = args.options<CompressedCaseOptions>();
    detail::check_scale("compressed", options.scale);
    detail::check_eps("compressed", options.eps);
    if (args.has("v") != args.has("v_cmp"))
        args.refuse("one of the inputs 'v' and 'v_cmp' is given, needs both or none");
    CompressedEntries keys, index_keys;
    if (args.has("c_kv")) {
        if (args.has("k_cmp")) args.refuse("inputs 'k_cmp' and 'c_kv' are given, needs one of them");
        keys = pooled(args, "c_", x.c_kv, x.c_gate,
                      {x.q.dim, options.rate, options.overlap, x.c_bias, x.c_norm, x.rope_freq, options.eps}, context);
        x.k_cmp = keys.rows();
    }
    if (options.top_k && args.has("i_kv")) {
        if (args.has("k_idx")) args.refuse("inputs 'k_idx' and 'i_kv' are given, needs one of them");
        index_keys = pooled(args, "i_", x.i_kv, x.i_gate,
                            {x.q_idx.dim, options.rate, options.overlap, x.i_bias, x.i_norm,
                             args.has("i_freq") ? x.i_freq : x.rope_freq, options.eps},
                            context);
        x.k_idx = index_keys.rows();
    }
    KeyLists lists;
    SparseOutputs out = sparse_outputs(args, x.q, x.kv);
    out.lists = &lists;
    compressed(x, out, options, context);
    if (args.has("c_kv")) {
        const Matrices<const float> rows = keys.rows();
        std::copy_n(rows.data, rows.rows * rows.cols, args.output<float>("k_cmp", {rows.rows, rows.cols}));
    }
    if (options.top_k) give_index(args, "index", lists, *options.top_k, {}, true);
}

Mechanism compressed_row() {
    Mechanism row = sparse_row<&compressed>({.name = "compressed",
                                             .summary = "a window of tokens, pooled entries and a sink in one softmax",
                                             .source = "DeepSeek-V4 (2026), CSA and HCA",
                                             .cost = "(window + entries)·(D+Dv) per head and query",
                                             .more_outputs = ", k_cmp [C, D], index [Tq, top_k]"},
                                            call_compressed);
    row.inputs =
        "q [Hq, Tq, D], k [1, Tk, D], (v [1, Tk, Dv], k_cmp [C, D], v_cmp [C, Dv], c_kv [Tk, Dc], c_gate [Tk, Dc], "
        "c_bias [rate, Dc], c_norm [D], sink [Hq], rope_freq [m], q_idx [Gi, Tq, Di], w_idx [Gi, Tq], k_idx [C, Di], "
        "i_kv [Tk, Dj], i_gate [Tk, Dj], i_bias [rate, Dj], i_norm [Di], i_freq [mi])";
    row.parameters = parameters_of<CompressedCaseOptions>;
    return row;
}

}  // namespace

std::vector<Mechanism> indexer_rows() {
    return {
        sparse_row<&dsa>({.name = "dsa",
                          .summary = "DeepSeek sparse attention: a light indexer picks the keys of each query",
                          .source = "DeepSeek-V3.2-Exp (2025)",
                          .cost = "Tk·Hi·Di per query to rank, top_k·(D+Dv) per head to attend",
                          .more_outputs = ", index [Tq, top_k], (index_score [Tq, Tk])"},
                         call_dsa),
        sparse_row<&msa>(
            {.name = "msa",
             .summary = "MiniMax sparse attention: an index head for each group picks blocks by their best key",
             .source = "MiniMax-M3 (2026)",
             .cost = "Tk·Di per query and index head to rank, top_k·block·(D+Dv) per head to attend",
             .more_outputs = ", index [Hi, Tq, top_k]"},
            call_msa),
        sparse_row<&qsa>(
            {.name = "qsa",
             .summary = "Qwen sparse attention: small blocks by an indexer, and the query's incomplete one",
             .source = "Qwen3.8-Flash-Next (2026)",
             .cost = "Tk/ratio·Gi·Di per query to rank, budget·(D+Dv) per head to attend",
             .more_outputs = ", index [Tq, budget/ratio]"},
            call_qsa),
        compressed_row(),
    };
}

}  // namespace rows

ATTENTA_END
