#include "bench/sparse/by_hand.hpp"

#include "bench/sparse/setup.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

namespace bench {
namespace {

using attenta::Context, attenta::Heads, attenta::KeyLists, attenta::KvView;

/// A call of softmax_attention whose keys, by masks or lists, are those of `lists`.
SparseWork exact(const Problem& p, Context& context, attenta::SoftmaxOptions options,
                 const std::shared_ptr<KeyLists>& lists) {
    options.causal = true;
    SparseWork work;
    work.lists = lists;
    count(work, *lists, p.shape());
    work.run = [=, &p, &context](std::size_t copy) {
        attenta::softmax_attention(p.q(copy), p.kv(copy), p.o(copy), options, nullptr, context);
    };
    return work;
}

/// Keys [begin, end).
KvView slice(const KvView& kv, std::int64_t begin, std::int64_t end) {
    KvView part = kv;
    for (KvView::Rows* side : {&part.k, &part.v})
        side->data = static_cast<const float*>(side->data) + begin * side->token_stride;
    part.tokens = end - begin;
    return part;
}

Heads<const float> tensor(const KvView& kv, const KvView::Rows& side) {
    return {static_cast<const float*>(side.data), kv.heads, kv.tokens, side.dim, side.head_stride, side.token_stride};
}

}  // namespace

SparseWork window(const Problem& p, Context& context) {
    constexpr std::int64_t size = 512;
    const AttendCase& c = p.shape();
    const attenta::Mask seen = attenta::Causal{} && attenta::Window{size - 1, 0};
    return exact(p, context, {.window_left = size - 1},
                 std::make_shared<KeyLists>(KeyLists::of(seen, {.queries = c.Tq, .keys = c.Tk})));
}

SparseWork csr(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    auto lists = std::make_shared<KeyLists>(KeyLists::Shape{.heads = c.Hkv, .queries = 1, .keys = c.Tk});
    std::mt19937 random(3);
    for (std::int64_t h = 0; h < c.Hkv; ++h) {
        for (std::int64_t key = 0; key < c.Tk; ++key)
            if (random() % 50 == 0) lists->add(key, 1);
        lists->end_list();
    }
    return exact(p, context, {.lists = {lists.get(), 1}}, lists);
}

SparseWork block_sparse(const Problem& p, Context& context) {
    const std::int64_t size = 64, T = p.shape().Tk;
    auto lists =
        std::make_shared<KeyLists>(KeyLists::Shape{.queries = T, .keys = T, .query_block = size, .unit = size});
    std::mt19937 random(3);
    for (std::int64_t a = 0; a * size < T; ++a) {
        for (std::int64_t b = 0; b <= a; ++b)
            if (b == a || random() % 10 == 0) lists->add(b * size, std::min(size, T - b * size));
        lists->end_list();
    }
    return exact(p, context, {.lists = {lists.get(), 1}}, lists);
}

SparseWork knn_memory(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    const std::int64_t remembered = c.Tk - 2048;
    const attenta::KnnMemoryOptions options{.top_k = 2048};
    const auto inputs = [=, &p](std::size_t copy) {
        return attenta::KnnMemoryInputs{p.q(copy), slice(p.kv(copy), remembered, c.Tk),
                                        slice(p.kv(copy), 0, remembered)};
    };
    SparseWork work;
    KeyLists lists;
    knn_memory_lists(inputs(0), lists, options, context);
    count(work, lists, c);
    count_shared(work, static_cast<double>(c.Hq * 2048), c);
    work.select_flops = static_cast<double>(2 * c.Hq * remembered * c.D);
    work.select_bytes = static_cast<double>(4 * c.Hkv * remembered * c.D);
    work.run = [=, &p, &context](std::size_t copy) {
        attenta::knn_memory(inputs(copy), {.o = p.o(copy)}, options, context);
    };
    work.select = [=, &context](std::size_t copy) {
        KeyLists found;
        knn_memory_lists(inputs(copy), found, options, context);
    };
    return work;
}

namespace {

/// Rows around 0 or a shift, in few directions of many: z B + noise.
class Directions {
public:
    Directions(std::int64_t dim, float shift, unsigned seed)
        : dim_(dim), shift_(shift), random_(seed), basis_(static_cast<std::size_t>(count * dim)) {
        for (float& x : basis_) x = normal_(random_) / 4;
    }

    std::vector<float> draw(std::int64_t rows) {
        std::vector<float> x;
        for (std::int64_t r = 0; r < rows; ++r) {
            std::array<float, count> z;
            for (float& e : z) e = normal_(random_);
            for (std::int64_t d = 0; d < dim_; ++d) {
                float sum = shift_ + 0.3f * normal_(random_);
                for (std::size_t i = 0; i < z.size(); ++i)
                    sum += z[i] * basis_[i * static_cast<std::size_t>(dim_) + static_cast<std::size_t>(d)];
                x.push_back(sum);
            }
        }
        return x;
    }

private:
    static constexpr std::int64_t count = 16;

    std::int64_t dim_;
    float shift_;
    std::mt19937 random_;
    std::normal_distribution<float> normal_;
    std::vector<float> basis_;
};

struct Indexed {
    std::vector<float> q, k;
    std::vector<attenta::RetrievalIndex> indexes;
};

}  // namespace

SparseWork retrieval_index(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    const attenta::RetrievalOptions options{};
    constexpr std::int64_t search_queue = 128;
    Directions key_directions(c.D, 0, 1), query_directions(c.D, 0.2f, 2);
    const auto own = std::make_shared<Indexed>();
    const std::vector<float> head = key_directions.draw(c.Tk), train = query_directions.draw(c.Tk / 16);
    for (std::int64_t h = 0; h < c.Hkv; ++h) own->k.insert(own->k.end(), head.begin(), head.end());
    own->q = query_directions.draw(c.Hq);
    const Heads<const float> q = attenta::hnd(std::as_const(own->q).data(), c.Hq, 1, c.D),
                             k = attenta::hnd(std::as_const(own->k).data(), c.Hkv, c.Tk, c.D);
    const auto inputs = [=, &p](std::size_t copy) {
        KvView kv = p.kv(copy);
        kv.k = KvView::of(k, k).k;
        return attenta::RetrievalInputs{.q = q, .kv = kv};
    };

    const auto begin = std::chrono::steady_clock::now();
    own->indexes.assign(
        static_cast<std::size_t>(c.Hkv),
        attenta::RetrievalIndex({.kv = inputs(0).kv, .begin = options.sink, .end = c.Tk - options.window},
                                {train.data(), 1, c.Tk / 16, c.D}, {.build_queue = 100}, context));
    const double built = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();

    SparseWork work;
    const auto select = [=, &context](std::size_t copy, KeyLists& lists) {
        retrieval_lists(own->indexes, search_queue, inputs(copy), lists, options, context);
    };
    work.run = [=, &p, &context](std::size_t copy) {
        KeyLists lists;
        select(copy, lists);
        const attenta::RetrievalInputs x = inputs(copy);
        attenta::softmax_attention(x.q, x.kv, p.o(copy), {.causal = true, .lists = {&lists, 1}}, nullptr, context);
    };
    work.select = [=](std::size_t copy) {
        KeyLists lists;
        select(copy, lists);
    };
    KeyLists lists;
    select(0, lists);
    count(work, lists, c);

    std::vector<std::int64_t> found(static_cast<std::size_t>(c.Hq * options.top_k)),
        scanned(static_cast<std::size_t>(c.Hq));
    std::vector<float> recall(scanned.size());
    own->indexes[0].search(q, {options.top_k, search_queue}, found.data(), context, scanned.data());
    for (std::int64_t& key : found) key += key < 0 ? 0 : options.sink;
    attenta::RetrievalInputs x = inputs(0);
    x.found = attenta::hnd(std::as_const(found).data(), c.Hq, 1, options.top_k);
    attenta::RetrievalOutputs out;
    out.o = p.o(0);
    out.recall = recall.data();
    attenta::retrieval(x, out, options, context);
    const double scores = std::accumulate(scanned.begin(), scanned.end(), 0.0);
    work.select_flops = 2 * static_cast<double>(c.D) * scores;
    work.select_bytes = work.select_flops * 2;  // a row for each score: the graph has no order
    work.figures = {{"recall", std::accumulate(recall.begin(), recall.end(), 0.0) / static_cast<double>(c.Hq)},
                    {"scanned", scores / static_cast<double>(c.Hq * (c.Tk - options.sink - options.window))},
                    {"build_seconds", built}};
    return work;
}

SparseWork routing(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    constexpr std::int64_t centroids = 64;
    const auto setup = std::make_shared<Setup>(c);
    const Heads<const float> mu = setup->normal(c.Hq, centroids, c.D);
    const auto inputs = [=, &p](std::size_t copy) {
        const KvView kv = p.kv(copy);
        return attenta::RoutingInputs{.q = p.q(copy), .v = tensor(kv, kv.v), .mu = mu};
    };
    SparseWork work;
    work.kept = setup;
    const auto size = static_cast<double>(c.Tk / centroids);
    count_shared(work, static_cast<double>(c.Hq * centroids) * size * (size + 1) / 2, c);
    work.select_flops = static_cast<double>(2 * c.Hq * c.Tq * centroids * c.D);
    work.run = [=, &p, &context](std::size_t copy) { attenta::routing(inputs(copy), {.o = p.o(copy)}, {}, context); };
    work.select = [=, &context](std::size_t copy) {
        KeyLists queries, keys;
        routing_lists(inputs(copy), queries, keys, {}, context);
    };
    return work;
}

SparseWork modality_adaptive(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    constexpr std::int64_t steps = 4096;
    std::vector<std::int64_t> modality(static_cast<std::size_t>(c.Tk - steps), 1);
    std::fill_n(modality.end() - 256, 256, 0);
    attenta::ModalityState prompt(modality, c.Hkv,
                                  {.interval = 8, .secondary_rate = 0.5, .core_rate = 0.2, .text_rate = 0.5});
    prompt.prefill(p.q(0), slice(p.kv(0), 0, c.Tk - steps), p.o(0), {}, context);
    SparseWork work;
    const KeyLists lists = prompt.next(c.Tk - steps + 1);
    count(work, lists, c);
    work.run = [=, &p, &context, state = prompt](std::size_t copy) mutable {
        if (state.tokens() == c.Tk) state = prompt;
        state.step(p.q(copy), slice(p.kv(copy), 0, state.tokens() + 1), p.o(copy), {}, context);
    };
    return work;
}

SparseWork triangular_spans(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    const auto setup = std::make_shared<Setup>(c);
    const attenta::TriangularSpansOptions options{.local = c.Tq,
                                                  .theta = 0.01,
                                                  .index_vectors = 4,
                                                  .top_spans = 64,
                                                  .sink = 4,
                                                  .map_window = 512,
                                                  .max_span = 64};
    const Heads<const float> q = setup->normal(c.Hq, c.Tk, c.D);
    const auto& spans = setup->keep(find_spans(q, p.kv(0), c.Tk - c.Tq, options, context));
    const auto inputs = [=, &p, &spans](std::size_t copy) {
        return attenta::TriangularSpansInputs{.q = q, .kv = p.kv(copy), .spans = &spans};
    };
    SparseWork work;
    work.kept = setup;
    KeyLists lists;
    triangular_spans_lists(inputs(0), spans, lists, options);
    count(work, lists, c);
    work.run = [=, &p, &context](std::size_t copy) {
        attenta::triangular_spans(inputs(copy), {{.o = p.o(copy)}}, options, context);
    };
    work.select = [=, &spans](std::size_t copy) {
        KeyLists found;
        triangular_spans_lists(inputs(copy), spans, found, options);
    };
    return work;
}

SparseWork infini_retrieval(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    const auto setup = std::make_shared<Setup>(c);
    const std::int64_t n = c.Tk - c.Tq;
    const Heads<const float> q = setup->normal(c.Hq, c.Tk, c.D);
    const auto sentence = setup->integers(n, [](std::int64_t i) { return i / 32; });
    std::vector<float>& score = setup->keep(std::vector<float>(static_cast<std::size_t>(n)));
    SparseWork work;
    work.kept = setup;
    count_shared(work, static_cast<double>(c.Hq * c.Tq * n), c);
    work.values = false;
    work.select_flops = 2 * static_cast<double>(c.D) * work.pairs;  // of the first of two passes
    work.run = [=, &p, &context, &score](std::size_t copy) {
        attenta::infini_retrieval({q, p.kv(copy), sentence}, {.score = score.data()},
                                  {.context = {0, n}, .question = {n, c.Tk}}, context);
    };
    return work;
}

SparseWork maxsim(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    constexpr std::int64_t size = 128;
    const auto setup = std::make_shared<Setup>(c);
    const auto pointers = setup->integers(c.Tk / size + 1, [](std::int64_t i) { return i * size; });
    std::vector<float>& score = setup->keep(std::vector<float>(static_cast<std::size_t>(c.Tk / size)));
    SparseWork work;
    work.kept = setup;
    count_shared(work, static_cast<double>(c.Tq * c.Tk), c);
    work.values = false;
    work.run = [=, &p, &context, &score](std::size_t copy) {
        const KvView kv = p.kv(copy);
        attenta::maxsim(
            {{p.q(copy).data, 1, c.Tq, c.D}, {static_cast<const float*>(kv.k.data), 1, c.Tk, c.D}, pointers},
            {.score = score.data()}, {}, context);
    };
    return work;
}

SparseWork rope_reencode(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    const auto setup = std::make_shared<Setup>(c);
    const auto from = setup->integers(c.Tk, [](std::int64_t i) { return i; }),
               to = setup->integers(c.Tk, [](std::int64_t i) { return i + 1000; });
    SparseWork work;
    work.kept = setup;
    work.rows = static_cast<double>(c.Hkv * c.Tk);
    work.run = [=, &p, &context](std::size_t copy) {
        const KvView kv = p.kv(copy);
        const Heads<const float> k = tensor(kv, kv.k);
        attenta::rope_reencode({k, from, to},
                               {const_cast<float*>(k.data), k.heads, k.tokens, k.dim, k.head_stride, k.token_stride},
                               {}, context);
    };
    return work;
}

}  // namespace bench
