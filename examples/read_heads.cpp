// What the heads of the bundled model do while it answers questions about a text: which look at a sink, which at the token
// before, which copy from where the answer stands. This model has no sinks: no key gets more than 5 % of what a head gives.
#include "llama.hpp"
#include "retrieval.hpp"

#include <attenta/analysis.hpp>
#include <attenta/softmax/weights.hpp>

#include <algorithm>
#include <cstdio>

int main() {
    const llama::Model model(ATTENTA_MODEL);
    const std::int64_t L = model.config().layers, H = model.config().heads, T = model.config().max_positions;
    const auto count = [](std::int64_t n) { return static_cast<std::size_t>(n); };
    std::mt19937_64 random(1);
    const retrieval::Document document = retrieval::make_document(count(T), random);
    const std::vector<llama::Token> tokens(document.text.begin(), document.text.end());
    const std::vector<std::int64_t> ids(tokens.begin(), tokens.end());

    std::vector<float> weights(count(L * H * T * T));
    std::vector<attenta::RowStatistics> rows(count(H * T));
    const attenta::SoftmaxOptions causal{.causal = true};
    attenta::KvCache cache = model.make_cache(T);
    model.forward(tokens, cache, 1, attenta::default_context(), [&](std::int64_t layer, auto q, auto k, auto, auto) {
        const attenta::KvView kv = attenta::KvView::of(k, k);
        attenta::softmax_statistics(q, kv, rows.data(), causal);
        const attenta::edits::LastRows all{&weights[count(layer * H * T * T)], T, T, T};
        attenta::softmax_weights(q, kv, rows.data(), {attenta::edit(all)}, {}, causal);
    });
    const attenta::analysis::Weights attn{weights.data(), {L, H, T, T}};

    std::vector<float> received(count(L * H * T)), before(count(L * H)), copied(before.size()), score(before.size());
    attenta::analysis::sink_metrics({attn}, {.received = received.data()},
                                    {.average = attenta::analysis::SinkAverage::all});
    attenta::analysis::head_distance({attn}, {.offset_mass = before.data()}, {.offsets = {-1}});
    // The rows before the four digits of each answer, and the digits behind "let NAME=".
    std::vector<float> steps(count(4 * L * H * T));
    for (const std::size_t answer : document.answers) {
        for (std::int64_t s = 0; s < 4; ++s)
            for (std::int64_t head = 0; head < L * H; ++head)
                std::copy_n(&weights[count((head * T + s) * T) + (answer - 1) * count(T)], T,
                            &steps[count((s * L * H + head) * T)]);
        const std::size_t name = document.text.rfind("get ", answer) + 4;
        const std::string fact = "let " + document.text.substr(name, answer - name);
        const auto digits = static_cast<std::int64_t>(document.text.find(fact) + fact.size());
        attenta::analysis::retrieval_score({{steps.data(), {4, L, H, T}}, {&ids[answer], 4}, ids},
                                           {.score = score.data()}, {.needle_start = digits, .needle_end = digits + 4});
        for (std::size_t i = 0; i < score.size(); ++i)
            copied[i] += score[i] / static_cast<float>(document.answers.size());
    }

    std::printf("layer head   one key  token before  copied digits\n");
    for (std::size_t i = 0; i < score.size(); ++i) {
        const float sink = *std::max_element(&received[i * count(T)], &received[i * count(T)] + T);
        std::printf("%5zu %4zu %8.0f%% %12.0f%% %13.0f%%%s%s%s\n", i / count(H), i % count(H), 100.0 * sink,
                    100.0 * before[i], 100.0 * copied[i], sink > 0.3f ? "  sink" : "",
                    before[i] > 0.3f ? "  previous token" : "", copied[i] > 0.1f ? "  retrieval" : "");
    }
}
