// What eviction policies and storages of the cache cost the bundled model, which answers questions about documents that it has
// read. A document is read once with all of its context; then each cache goes on by itself, byte by byte, and all of them in
// one batch. Tables and a picture.
//
//   exact answers   questions of which all four digits are the model's most likely bytes
//   bits per byte   of the questions, mean of −log2 p
//   output error    |o − o of the full cache in f32| / |o of that cache|, mean over layers, query heads and tokens; the
//                   layers below have gone astray, too
//   KiB             rows of K and V that are held at the end, all layers
//   tokens/s        attention and eviction of all layers, without the rest of the model
//
// Budgets are swept in the first storage, storages at the middle budget.
#include "caches.hpp"
#include "llama.hpp"
#include "plot.hpp"
#include "retrieval.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numbers>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace {

using attenta::Heads;
using llama::Token;
using Clock = std::chrono::steady_clock;

struct Options {
    std::string model = ATTENTA_MODEL, svg = "evict_eval.svg";
    std::vector<std::string> policies = caches::names(caches::policies()), kv = caches::names(caches::storages());
    std::vector<std::int64_t> budgets = {32, 64, 128, 256};
    std::size_t documents = 8, bytes = 1024;
    double seconds = 80;
    std::uint64_t seed = 1;
};

/// A cache that takes part, and how it fares.
struct Candidate {
    std::string policy, kv;
    std::int64_t budget = 0;
    double right = 0, bits = 0, error = 0, kib = 0, seconds = 0;  ///< sums over all documents
};

/// What the candidates are divided by.
struct Totals {
    double questions = 0, tokens = 0, outputs = 0, documents = 0;
};

struct Measure {
    const char* title;
    double (*value)(const Candidate& c, const Totals& t);
    int digits;
};
const Measure measures[] = {
    {"exact answers", [](const Candidate& c, const Totals& t) { return c.right / t.questions; }, 3},
    {"bits per byte", [](const Candidate& c, const Totals& t) { return c.bits / t.tokens; }, 3},
    {"output error", [](const Candidate& c, const Totals& t) { return c.error / t.outputs; }, 3},
    {"KiB of keys and values", [](const Candidate& c, const Totals& t) { return c.kib / t.documents; }, 0},
    {"tokens/s", [](const Candidate& c, const Totals& t) { return t.tokens / c.seconds; }, 0},
};

/// Policies in rows, budgets or storages in columns; cells are candidates.
struct Table {
    std::string title;
    std::vector<std::string> rows, columns;
    std::vector<std::vector<std::size_t>> cells;
};

/// Candidates, each once however many tables it is in. The first is the full cache in f32.
class Field {
public:
    explicit Field(const Options& o) {
        at("full", "f32", 0);
        const std::int64_t middle = o.budgets[o.budgets.size() / 2];
        Table& by_budget = tables_.emplace_back(Table{"budgets in " + o.kv[0], o.policies, {}, {}});
        for (const std::int64_t budget : o.budgets) by_budget.columns.push_back(std::to_string(budget));
        Table& by_storage =
            tables_.emplace_back(Table{"storages at a budget of " + std::to_string(middle), o.policies, o.kv, {}});
        for (const std::string& policy : o.policies) {
            auto& budgets = tables_[0].cells.emplace_back();
            for (const std::int64_t budget : o.budgets) budgets.push_back(at(policy, o.kv[0], budget));
            for (auto& storages = by_storage.cells.emplace_back(); const std::string& kv : o.kv)
                storages.push_back(at(policy, kv, middle));
        }
    }

    std::vector<Candidate>& candidates() { return candidates_; }
    const std::vector<Table>& tables() const { return tables_; }

private:
    std::size_t at(const std::string& policy, const std::string& kv, std::int64_t budget) {
        if (policy == "full") budget = 0;
        std::size_t i = 0;
        while (i < candidates_.size() &&
               !(candidates_[i].policy == policy && candidates_[i].kv == kv && candidates_[i].budget == budget))
            ++i;
        if (i == candidates_.size()) candidates_.push_back({policy, kv, budget});
        return i;
    }

    std::vector<Candidate> candidates_;
    std::vector<Table> tables_;
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// log2 p of a token.
double log2_probability(std::span<const float> logits, Token token) {
    const double top = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x) - top);
    return (static_cast<double>(logits[static_cast<std::size_t>(token)]) - top - std::log(sum)) / std::numbers::ln2;
}

/// Mean over heads of |row − row of `want`| / |row of `want`|, of tokens of a batch.
double relative_error(Heads<const float> o, std::int64_t row, std::int64_t want) {
    double sum = 0;
    for (std::int64_t h = 0; h < o.heads; ++h) {
        double off = 0, size = 0;
        for (std::int64_t c = 0; c < o.dim; ++c) {
            const double x = double{o.row(h, want)[c]};
            off += std::pow(double{o.row(h, row)[c]} - x, 2);
            size += x * x;
        }
        sum += std::sqrt(off / size);
    }
    return sum / static_cast<double>(o.heads);
}

/// All candidates read on after the questions of a document have begun.
class Run {
public:
    Run(const llama::Model& model, std::vector<Candidate>& candidates, Totals& totals,
        const retrieval::Document& document)
        : model_(model), candidates_(candidates), totals_(totals), document_(document) {
        const auto bytes = static_cast<std::int64_t>(document.text.size());
        for (const Candidate& c : candidates)
            caches_.push_back(std::make_unique<caches::EvictedCache>(
                model.cache_options(bytes, caches::find(caches::storages(), c.kv).storage), model.config().heads,
                caches::find(caches::policies(), c.policy), c.budget));
    }

    template <class Progress>
    void operator()(const Progress& progress) {
        read_prompt();
        std::vector<bool> right(caches_.size());
        auto answer = document_.answers.begin();
        for (std::size_t at = document_.questions; at + 1 < document_.text.size(); ++at) {
            const std::vector<float> logits = step(at);
            const Token next = byte(at + 1);
            if (answer != document_.answers.end() && at + 1 == *answer) right.assign(right.size(), true);
            for (std::size_t c = 0; c < caches_.size(); ++c) {
                const std::span<const float> row(logits.data() + c * vocab(), vocab());
                candidates_[c].bits -= log2_probability(row, next);
                right[c] = right[c] && llama::most_likely(row) == next;
            }
            if (answer != document_.answers.end() && at + 1 == *answer + 3) {
                for (std::size_t c = 0; c < caches_.size(); ++c) candidates_[c].right += right[c] ? 1 : 0;
                ++answer;
            }
            totals_.tokens += 1;
            progress(at);
        }
        totals_.questions += static_cast<double>(document_.answers.size());
        totals_.documents += 1;
        for (std::size_t c = 0; c < caches_.size(); ++c) candidates_[c].kib += caches_[c]->held_bytes() / 1024;
    }

private:
    std::size_t vocab() const { return static_cast<std::size_t>(model_.config().vocab); }
    Token byte(std::size_t at) const { return static_cast<unsigned char>(document_.text[at]); }

    void read_prompt() {
        std::vector<Token> tokens;
        for (std::size_t at = 0; at < document_.questions; ++at) tokens.push_back(byte(at));
        std::vector<std::int64_t> positions(tokens.size());
        std::iota(positions.begin(), positions.end(), 0);
        const auto attention = [&](std::int64_t layer, Heads<const float> q, Heads<const float> k, Heads<const float> v,
                                   Heads<float> o) {
            attenta::softmax_attention(q, attenta::KvView::of(k, v), o, {.causal = true});
            for (const auto& cache : caches_) cache->attend(layer, q, k, v, {});
        };
        model_.forward(tokens, positions, attention);
    }

    /// Logits of all candidates after a byte of the document.
    std::vector<float> step(std::size_t at) {
        const std::vector<Token> tokens(caches_.size(), byte(at));
        const std::vector<std::int64_t> positions(caches_.size(), static_cast<std::int64_t>(at));
        const auto attention = [&](std::int64_t layer, Heads<const float> q, Heads<const float> k, Heads<const float> v,
                                   Heads<float> o) {
            for (std::size_t c = 0; c < caches_.size(); ++c) {
                const auto row = static_cast<std::int64_t>(c);
                const auto start = Clock::now();
                caches_[c]->attend(layer, q.slice(row, 1), k.slice(row, 1), v.slice(row, 1), o.slice(row, 1));
                candidates_[c].seconds += seconds_since(start);
                candidates_[c].error += relative_error(o, row, 0);
            }
            totals_.outputs += 1;
        };
        return model_.forward(tokens, positions, attention, std::ssize(tokens));
    }

    const llama::Model& model_;
    std::vector<Candidate>& candidates_;
    Totals& totals_;
    const retrieval::Document& document_;
    std::vector<std::unique_ptr<caches::EvictedCache>> caches_;
};

void print(const Table& table, const std::vector<Candidate>& candidates, const Totals& totals, const Measure& measure) {
    std::printf("%s: %s\n   %-18s", measure.title, table.title.c_str(), "");
    for (const std::string& column : table.columns) std::printf(" %8s", column.c_str());
    std::printf("\n");
    for (std::size_t r = 0; r < table.rows.size(); ++r) {
        std::printf("   %-18s", table.rows[r].c_str());
        for (const std::size_t c : table.cells[r])
            std::printf(" %8.*f", measure.digits, measure.value(candidates[c], totals));
        std::printf("\n");
    }
    std::printf("\n");
}

/// Exact answers and bits per byte over the budget.
void draw(const Table& by_budget, const std::vector<Candidate>& candidates, const Totals& totals,
          const Options& options) {
    std::vector<plot::Panel> panels;
    for (const Measure& measure : {measures[0], measures[1]}) {
        plot::Panel& panel = panels.emplace_back(plot::Panel{.title = measure.title, .x_labels = by_budget.columns});
        panel.x.assign(options.budgets.begin(), options.budgets.end());
        double top = 1;
        for (std::size_t r = 0; r < by_budget.rows.size(); ++r) {
            plot::Curve& curve = panel.curves.emplace_back(plot::Curve{by_budget.rows[r], {}});
            for (const std::size_t c : by_budget.cells[r]) curve.y.push_back(measure.value(candidates[c], totals));
            top = std::max(top, *std::max_element(curve.y.begin(), curve.y.end()));
        }
        panel.top = std::ceil(top);
    }
    plot::draw(panels, "over tokens kept per K/V head and layer", options.svg);
}

void evaluate(const Options& options) {
    const llama::Model model(options.model);
    if (model.config().has_windows())
        attenta::fail("evict_eval", "layers of the model have windows, needs one without");
    if (model.config().vocab != 256) attenta::fail("evict_eval", "the model's tokens are not bytes");
    if (static_cast<std::int64_t>(options.bytes) > model.config().max_positions)
        attenta::fail("evict_eval", "bytes is " + std::to_string(options.bytes) + ", needs at most the " +
                                        std::to_string(model.config().max_positions) + " positions of the model");
    Field field(options);
    Totals totals;
    std::mt19937_64 random(options.seed);
    const auto start = Clock::now();
    for (std::size_t d = 0; d < options.documents && seconds_since(start) < options.seconds; ++d) {
        const retrieval::Document document = retrieval::make_document(options.bytes, random);
        Run run(model, field.candidates(), totals, document);
        run([&](std::size_t at) {
            if (at % 16 == 0)
                std::fprintf(stderr, "\rdocument %zu of %zu, byte %zu of %zu, %zu caches ", d + 1, options.documents,
                             at, options.bytes, field.candidates().size());
        });
    }
    std::fprintf(stderr, "\r%70s\r", "");
    std::printf("%.0f documents of %zu bytes, %.0f questions, %.0f bytes after the prompts\n\n", totals.documents,
                options.bytes, totals.questions, totals.tokens);
    for (const Table& table : field.tables())
        for (const Measure& measure : measures) print(table, field.candidates(), totals, measure);
    draw(field.tables()[0], field.candidates(), totals, options);
    std::printf("The picture is in %s.\n", options.svg.c_str());
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"What eviction policies and storages of the cache cost a model."};
    Options o;
    app.add_option("--model", o.model, "directory of the model, whose tokens are bytes")->capture_default_str();
    app.add_option("--policies", o.policies)
        ->delimiter(',')
        ->check(CLI::IsMember(caches::names(caches::policies())))
        ->capture_default_str();
    app.add_option("--kv", o.kv, "storages")
        ->delimiter(',')
        ->check(CLI::IsMember(caches::names(caches::storages())))
        ->capture_default_str();
    app.add_option("--budgets", o.budgets, "tokens kept per K/V head and layer, rising")
        ->delimiter(',')
        ->check(CLI::Range(8, 1000000))
        ->capture_default_str();
    app.add_option("--documents", o.documents)->check(CLI::Range(1, 100000))->capture_default_str();
    app.add_option("--seconds", o.seconds, "after which no document is begun")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--bytes", o.bytes, "of a document")->check(CLI::Range(256, 1000000))->capture_default_str();
    app.add_option("--seed", o.seed, "of the documents")->capture_default_str();
    app.add_option("--svg", o.svg, "where the picture goes")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        std::sort(o.budgets.begin(), o.budgets.end());
        evaluate(o);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
    return 0;
}
