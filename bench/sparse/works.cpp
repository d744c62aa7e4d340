#include "bench/sparse/works.hpp"

#include <attenta/attenta.hpp>
#include <attenta/sparse.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>

namespace bench {
namespace {

using attenta::Context, attenta::KeyLists;

std::vector<float> normals(std::int64_t n, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& e : x) e = normal(random);
    return x;
}

/// Visible pairs and rows that are read of lists with all keys up to the query's.
void count(SparseWork& work, const KeyLists& lists, const Problem& p) {
    const AttendCase& c = p.shape();
    const KeyLists::Shape& shape = lists.shape();
    const std::int64_t heads = c.Hq / shape.heads, first = c.Tk - c.Tq;
    double rows = 0;
    for (std::int64_t n = 0; n < lists.lists(); ++n) {
        const std::int64_t row = n % shape.rows();
        rows += static_cast<double>(lists.keys_of(n));
        for (std::int64_t i = 0; i < shape.queries_of(row); ++i)
            for (const attenta::KeyRun& run : lists.runs(n))
                work.pairs += static_cast<double>(
                    heads * std::clamp<std::int64_t>(first + shape.query(row, i) + 1 - run.start, 0, run.count));
    }
    // A list for all heads is read by each K/V head; lists of one group's heads may share rows, which count as often.
    work.rows = c.Tq > 1 ? static_cast<double>(c.Hkv * c.Tk)
                         : rows * static_cast<double>(std::max<std::int64_t>(c.Hkv / shape.heads, 1));
}

/// A call of softmax_attention with lists or other options.
SparseWork exact(const Problem& p, Context& context, attenta::SoftmaxOptions options, std::shared_ptr<KeyLists> lists) {
    options.causal = true;
    SparseWork work;
    if (lists) count(work, *lists, p);
    work.run = [&p, &context, options, lists](std::size_t copy) mutable {
        if (lists) options.lists = {lists.get(), 1};
        attenta::softmax_attention(p.q(copy), p.kv(copy), p.o(copy), options, nullptr, context);
    };
    return work;
}

SparseWork window(const Problem& p, Context& context) {
    const std::int64_t size = 512;
    SparseWork work = exact(p, context, {.window_left = size - 1}, nullptr);
    const auto T = static_cast<double>(p.shape().Tk), w = static_cast<double>(size);
    work.pairs = static_cast<double>(p.shape().Hq) * (T * w - w * (w - 1) / 2);
    work.rows = static_cast<double>(p.shape().Hkv) * T;
    return work;
}

/// 2 % of the keys by chance, a list for each K/V head.
SparseWork csr(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    auto lists = std::make_shared<KeyLists>(KeyLists::Shape{.heads = c.Hkv, .queries = 1, .keys = c.Tk});
    std::mt19937 random(3);
    for (std::int64_t h = 0; h < c.Hkv; ++h) {
        for (std::int64_t key = 0; key < c.Tk; ++key)
            if (random() % 50 == 0) lists->add(key, 1);
        lists->end_list();
    }
    return exact(p, context, {}, std::move(lists));
}

/// 10 % of the causal blocks of 64 × 64 by chance, the same for all heads.
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
    return exact(p, context, {}, std::move(lists));
}

/// A mechanism that selects: `select(copy, lists)` and `run(copy)`.
template <class Select, class Run>
SparseWork selecting(const Problem& p, Select select, Run run) {
    SparseWork work;
    auto lists = std::make_shared<KeyLists>();
    work.select = [select, lists](std::size_t copy) { select(copy, *lists); };
    work.run = run;
    work.select(0);
    count(work, *lists, p);
    return work;
}

/// An indexer of one head of 64 channels.
SparseWork dsa(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    struct Index {
        std::vector<float> q, k, w;
    };
    auto index = std::make_shared<Index>(
        Index{normals(c.Tq * 64, 1), normals(c.Tk * 64, 2), std::vector<float>(static_cast<std::size_t>(c.Tq), 1.f)});
    const attenta::DsaOptions options{.top_k = c.Tk / 50};
    const auto inputs = [&p, index, c](std::size_t copy) {
        return attenta::DsaInputs{.q = p.q(copy),
                                  .kv = p.kv(copy),
                                  .q_idx = attenta::hnd(std::as_const(index->q).data(), 1, c.Tq, 64),
                                  .k_idx = {index->k.data(), 1, c.Tk, 64},
                                  .w_idx = attenta::hnd(std::as_const(index->w).data(), 1, c.Tq, 1)};
    };
    SparseWork work = selecting(
        p, [=, &context](std::size_t copy, KeyLists& lists) { dsa_lists(inputs(copy), lists, options, context); },
        [=, &p, &context](std::size_t copy) { dsa(inputs(copy), {{.o = p.o(copy)}}, options, context); });
    const auto queries = static_cast<double>(c.Tq), keys = static_cast<double>(c.Tk);
    work.select_flops = 2 * 64 * queries * (c.Tq > 1 ? keys / 2 : keys);
    work.select_bytes = 4 * 64 * keys;
    return work;
}

/// 2 % of the pages of 16 keys, bounds in `storage`.
template <attenta::Dtype storage>
SparseWork quest(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    auto bounds = std::make_shared<attenta::PageBounds>(c.Hkv, c.D, 16, storage);
    bounds->update(p.kv(0));
    const attenta::QuestOptions options{.page_size = 16, .top_pages = c.Tk / 16 / 50};
    const auto inputs = [&p, bounds](std::size_t copy) {
        return attenta::QuestInputs{.q = p.q(copy), .kv = p.kv(copy), .bounds = bounds.get()};
    };
    SparseWork work = selecting(
        p, [=, &context](std::size_t copy, KeyLists& lists) { quest_lists(inputs(copy), lists, options, context); },
        [=, &p, &context](std::size_t copy) { quest(inputs(copy), {.o = p.o(copy)}, options, context); });
    const auto pages = static_cast<double>(c.Tk / 16), D = static_cast<double>(c.D);
    work.select_flops = 2 * static_cast<double>(c.Hq) * pages * 2 * D;
    work.select_bytes = static_cast<double>(c.Hkv * attenta::size_of(storage)) * pages * 2 * D;
    return work;
}

SparseWork moba(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    auto means = std::make_shared<attenta::BlockMeans>(c.Hkv, c.D, 512);
    means->update(p.kv(0));
    const attenta::MobaOptions options{.block_size = 512, .top_k = 2};
    const auto inputs = [&p, means](std::size_t copy) {
        return attenta::MobaInputs{.q = p.q(copy), .kv = p.kv(copy), .means = means.get()};
    };
    SparseWork work = selecting(
        p, [=, &context](std::size_t copy, KeyLists& lists) { moba_lists(inputs(copy), lists, options, context); },
        [=, &p, &context](std::size_t copy) { moba(inputs(copy), {.o = p.o(copy)}, options, context); });
    const auto blocks = static_cast<double>(c.Tk / 512);
    work.select_flops = static_cast<double>(c.Hq * c.Tq * c.D) * blocks;
    return work;
}

/// A quarter of the components, in `storage`. The basis does not matter for the time: it is that of the channels.
template <attenta::Dtype storage>
SparseWork loki(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    struct Basis {
        std::vector<float> pca;
        attenta::LowRankKeys low;
    };
    auto basis = std::make_shared<Basis>();
    basis->pca.resize(static_cast<std::size_t>(c.Hkv * c.D * c.D));
    for (std::int64_t h = 0; h < c.Hkv; ++h)
        for (std::int64_t i = 0; i < c.D; ++i) basis->pca[static_cast<std::size_t>((h * c.D + i) * c.D + i)] = 1;
    const auto pca = attenta::hnd(std::as_const(basis->pca).data(), c.Hkv, c.D, c.D);
    basis->low = attenta::LowRankKeys(pca, c.D / 4, storage);
    basis->low.update(p.kv(0));
    const attenta::LokiOptions options{.d = c.D / 4, .top_k = c.Tk / 50};
    const auto inputs = [&p, basis, pca](std::size_t copy) {
        return attenta::LokiInputs{.q = p.q(copy), .kv = p.kv(copy), .pca = pca, .low = &basis->low};
    };
    SparseWork work = selecting(
        p, [=, &context](std::size_t copy, KeyLists& lists) { loki_lists(inputs(copy), lists, options, context); },
        [=, &p, &context](std::size_t copy) { loki(inputs(copy), {.o = p.o(copy)}, options, context); });
    work.select_flops = static_cast<double>(c.Hq * c.Tk * c.D / 2);
    work.select_bytes = static_cast<double>(c.Hkv * c.Tk * c.D / 4 * attenta::size_of(storage));
    return work;
}

/// Index heads of 64 channels, one for each K/V head.
SparseWork msa(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    struct Index {
        std::vector<float> q, k;
    };
    auto index = std::make_shared<Index>(Index{normals(c.Hkv * c.Tq * 64, 1), normals(c.Tk * 64, 2)});
    const attenta::MsaOptions options{.block_size = 128, .top_k = c.Tk / 128 / 16};
    const auto inputs = [&p, index, c](std::size_t copy) {
        return attenta::MsaInputs{.q = p.q(copy),
                                  .kv = p.kv(copy),
                                  .q_idx = attenta::hnd(std::as_const(index->q).data(), c.Hkv, c.Tq, 64),
                                  .k_idx = {index->k.data(), 1, c.Tk, 64}};
    };
    SparseWork work = selecting(
        p, [=, &context](std::size_t copy, KeyLists& lists) { msa_lists(inputs(copy), lists, options, context); },
        [=, &p, &context](std::size_t copy) { msa(inputs(copy), {.o = p.o(copy)}, options, context); });
    work.select_flops = static_cast<double>(c.Hkv * c.Tq * c.Tk * 64);
    return work;
}

/// Blocks of 64 keys, the means of 64 at a time that rank them, and a window; all three branches.
SparseWork nsa(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    struct Kept {
        std::vector<float> gates;
        attenta::NsaBlockMeans means;
    };
    auto kept = std::make_shared<Kept>(Kept{std::vector<float>(static_cast<std::size_t>(c.Hq * c.Tq), 0.5f),
                                            attenta::NsaBlockMeans({c.Hkv, c.D, c.D, 64, 32})});
    kept->means.update(p.kv(0));
    const attenta::NsaOptions options{.cmp_size = 64, .cmp_stride = 32, .top_n = 8, .window = 128};
    const auto inputs = [&p, kept, c](std::size_t copy) {
        const auto gates = attenta::hnd(std::as_const(kept->gates).data(), c.Hq, c.Tq, 1);
        return attenta::NsaInputs{.q = p.q(copy),
                                  .kv = p.kv(copy),
                                  .g_cmp = gates,
                                  .g_slc = gates,
                                  .g_win = gates,
                                  .cmp = kept->means.view()};
    };
    SparseWork work = selecting(
        p, [=, &context](std::size_t copy, KeyLists& lists) { nsa_lists(inputs(copy), lists, options, context); },
        [=, &p, &context](std::size_t copy) { nsa(inputs(copy), {{.o = p.o(copy)}}, options, context); });
    const auto T = static_cast<double>(c.Tk), heads = static_cast<double>(c.Hq), w = 128.0;
    work.pairs += heads * (T * w - w * (w - 1) / 2) + heads * T * T / 64;  // window and compressed blocks
    work.select_flops = heads * T * T / 32 * static_cast<double>(c.D);
    return work;
}

/// Columns that the last 64 queries find, and the last 512 diagonals: those of random numbers would lie anywhere.
SparseWork minference(const Problem& p, Context& context) {
    const AttendCase& c = p.shape();
    const attenta::MinferenceOptions options{.local = 512, .vertical_size = c.Tk / 40, .slash_size = 512};
    SparseWork work;
    const auto selection = std::make_shared<attenta::MinferenceSelection>();
    work.select = [=, &p, &context](std::size_t copy) {
        minference_lists({.q = p.q(copy), .kv = p.kv(copy)}, *selection, options, context);
    };
    work.run = [=, &p, &context](std::size_t copy) {
        minference({.q = p.q(copy), .kv = p.kv(copy)}, {{.o = p.o(copy)}}, options, context);
    };
    work.select(0);
    // A pair is seen by its column or by its diagonal.
    for (std::size_t h = 0; h < selection->columns.size(); ++h) {
        double columns = 0, diagonals = 0;
        for (const std::int64_t j : selection->columns[h]) columns += static_cast<double>(c.Tk - j);
        for (const std::int64_t o : selection->offsets[h]) diagonals += static_cast<double>(c.Tk - o);
        const double all = static_cast<double>(c.Tk) * static_cast<double>(c.Tk + 1) / 2;
        work.pairs += columns + diagonals - columns * diagonals / all;  // as if they met by chance
    }
    work.rows = static_cast<double>(c.Hkv * c.Tk);
    work.select_flops = 2.0 * 2 * 64 * static_cast<double>(c.Hq * c.Tk * c.D);
    return work;
}

SparseCase decode(const char* mechanism, const char* setting, Layout layout = Layout::hnd) {
    return {.mechanism = mechanism,
            .setting = setting,
            .decode = true,
            .layout = layout,
            .Hq = 32,
            .Hkv = 8,
            .D = 128,
            .Tk = 131072};
}
SparseCase prefill(const char* mechanism, const char* setting, std::int64_t T = 16384) {
    return {.mechanism = mechanism, .setting = setting, .Hq = 8, .Hkv = 2, .D = 128, .Tk = T};
}

}  // namespace

std::vector<SparseBench> sparse_works() {
    return {
        {decode("csr", "kept:2621"), csr},
        {decode("dsa", "top:2621", Layout::nhd), dsa},
        {decode("quest", "page:16,top:163"), quest<attenta::Dtype::f32>},
        {decode("quest", "page:16,top:163,bf16"), quest<attenta::Dtype::bf16>},
        {decode("loki", "d:32,top:2621"), loki<attenta::Dtype::f32>},
        {decode("loki", "d:32,top:2621,bf16"), loki<attenta::Dtype::bf16>},
        {prefill("window", "keys:512"), window},
        {prefill("block_sparse", "block:64,kept:0.1", 8192), block_sparse},
        {prefill("moba", "block:512,top:2"), moba},
        {prefill("nsa", "block:64,top:8,window:128"), nsa},
        {prefill("minference", "columns:409,diagonals:512"), minference},
        {prefill("msa", "block:128,top:8"), msa},
    };
}

}  // namespace bench
