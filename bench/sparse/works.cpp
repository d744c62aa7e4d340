#include "bench/sparse/works.hpp"

#include "bench/sparse/by_hand.hpp"
#include "bench/sparse/setup.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

namespace bench {

void count(SparseWork& work, const attenta::KeyLists& lists, const AttendCase& c) {
    const attenta::KeyLists::Shape& shape = lists.shape();
    const std::int64_t heads = c.Hq / shape.heads, first = c.Tk - c.Tq;
    double rows = 0;
    for (std::int64_t n = 0; n < lists.lists(); ++n) {
        const std::int64_t row = n % shape.rows();
        rows += static_cast<double>(lists.keys_of(n));
        for (std::int64_t i = 0; i < shape.queries_of(row); ++i)
            for (const attenta::KeyRun& run : lists.runs(n)) {
                const std::int64_t seen = first + shape.query(row, i) + 1 - run.start;
                work.pairs +=
                    static_cast<double>(heads * (c.causal ? std::clamp<std::int64_t>(seen, 0, run.count) : run.count));
            }
    }
    // A list for all heads is read by each K/V head; lists of one group's heads may share rows, which count as often.
    work.rows += c.Tq > 1 ? static_cast<double>(c.Hkv * c.Tk)
                          : rows * static_cast<double>(std::max<std::int64_t>(c.Hkv / shape.heads, 1));
}

void count_shared(SparseWork& work, double pairs, const AttendCase& c) {
    work.pairs += pairs;
    work.rows +=
        c.Tq > 1 ? static_cast<double>(c.Hkv * c.Tk) : pairs * static_cast<double>(c.Hkv) / static_cast<double>(c.Hq);
}

namespace {

using attenta::Dtype;

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
SparseCase full(const char* mechanism, const char* setting, std::int64_t T = 8192) {
    SparseCase c = prefill(mechanism, setting, T);
    c.causal = false;
    return c;
}
/// The last Tq of T tokens are queries.
SparseCase last(const char* mechanism, const char* setting, std::int64_t Tq, std::int64_t T) {
    SparseCase c = prefill(mechanism, setting, T);
    c.Tq = Tq;
    return c;
}
SparseCase with_heads(SparseCase c, std::int64_t Hq, std::int64_t Hkv) {
    c.Hq = Hq;
    c.Hkv = Hkv;
    return c;
}
SparseCase with_keys(SparseCase c, std::int64_t Tk) {
    c.Tk = Tk;
    return c;
}

double number(auto x) { return static_cast<double>(x); }

/// What ranks `units` keys, blocks or pages of each of `heads` by `dim` numbers costs.
void ranks(Setup& s, std::int64_t heads, std::int64_t units, std::int64_t dim) {
    const AttendCase& c = s.c;
    s.work.select_flops = 2 * number(heads * c.Tq * units * dim) / (c.Tq > 1 && c.causal ? 2 : 1);
}

/// An indexer of one head of 64 channels.
void dsa_indexer(attenta::DsaInputs& x, Setup& s) {
    x.q_idx = s.normal(1, s.c.Tq, 64);
    x.k_idx = s.rows(s.c.Tk, 64);
    x.w_idx = s.constant(1, 1, s.c.Tq);
    ranks(s, 1, s.c.Tk, 64);
    s.work.select_bytes = number(4 * 64 * s.c.Tk);
}

auto quest_bounds(Dtype storage) {
    return [=](attenta::QuestInputs& x, Setup& s) {
        auto& bounds = s.keep(attenta::PageBounds(s.c.Hkv, s.c.D, 16, storage));
        bounds.update(x.kv);
        x.bounds = &bounds;
        ranks(s, s.c.Hq, s.c.Tk / 16, 2 * s.c.D);
        s.work.select_bytes = number(s.c.Hkv * s.c.Tk / 16 * 2 * s.c.D * attenta::size_of(storage));
    };
}

/// A matrix for each K/V head.
attenta::Heads<const float> identity(Setup& s) {
    const std::int64_t dim = s.c.D;
    const auto size = static_cast<std::size_t>(dim);
    std::vector<float>& x = s.keep(std::vector<float>(static_cast<std::size_t>(s.c.Hkv) * size * size));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = i % size == i / size % size ? 1.f : 0.f;
    return attenta::hnd(std::as_const(x).data(), s.c.Hkv, dim, dim);
}

/// The basis does not matter for the time: it is that of the channels.
auto loki_basis(Dtype storage) {
    return [=](attenta::LokiInputs& x, Setup& s) {
        const std::int64_t dim = s.c.D;
        x.pca = identity(s);
        auto& low = s.keep(attenta::LowRankKeys(x.pca, dim / 4, storage));
        low.update(x.kv);
        x.low = &low;
        ranks(s, s.c.Hq, s.c.Tk, dim / 4);
        s.work.select_bytes = number(s.c.Hkv * s.c.Tk * dim / 4 * attenta::size_of(storage));
    };
}

void moba_means(attenta::MobaInputs& x, Setup& s) {
    auto& means = s.keep(attenta::BlockMeans(s.c.Hkv, s.c.D, 512));
    means.update(x.kv);
    x.means = &means;
    ranks(s, s.c.Hq, s.c.Tk / 512, s.c.D);
}

/// Blocks of 64 keys, the means of 64 at a time that rank them, and a window; all three branches.
constexpr attenta::NsaOptions nsa_options{.cmp_size = 64, .cmp_stride = 32, .top_n = 8, .window = 128};
void nsa_branches(attenta::NsaInputs& x, Setup& s) {
    auto& means = s.keep(attenta::NsaBlockMeans({s.c.Hkv, s.c.D, s.c.D, 64, 32}));
    means.update(x.kv);
    x.cmp = means.view();
    x.g_cmp = x.g_slc = x.g_win = s.constant(0.5f, s.c.Hq, s.c.Tq);
    ranks(s, s.c.Hq, s.c.Tk / 32, s.c.D);
    const double T = number(s.c.Tk);
    count_shared(s.work, number(s.c.Hq) * T * (128 + 7.5 * 64 + T / 64),
                 s.c);  // window, selected and compressed blocks
}

/// Of random numbers columns and diagonals would lie anywhere: the last 512 diagonals are forced.
constexpr attenta::MinferenceOptions minference_options{.local = 512, .vertical_size = 409, .slash_size = 512};
void minference_lines(attenta::MinferenceInputs& x, Setup& s) {
    attenta::MinferenceSelection selection;
    minference_lists(x, selection, minference_options);
    const double T = number(s.c.Tk);
    for (std::size_t h = 0; h < selection.columns.size(); ++h) {
        double columns = 0, diagonals = 0;
        for (const std::int64_t j : selection.columns[h]) columns += T - number(j);
        for (const std::int64_t o : selection.offsets[h]) diagonals += T - number(o);
        s.work.pairs += columns + diagonals - columns * diagonals / (T * (T + 1) / 2);  // as if they met by chance
    }
    s.work.rows = number(s.c.Hkv) * T;
    s.work.select_flops = number(4 * 64 * s.c.Hq * s.c.Tk * s.c.D);
}

void select_lines(const attenta::MinferenceInputs& x, attenta::KeyLists&, const attenta::MinferenceOptions& options,
                  attenta::Context& context) {
    attenta::MinferenceSelection selection;
    minference_lists(x, selection, options, context);
}

void antidiagonals(attenta::XattentionInputs&, Setup& s) { ranks(s, s.c.Hq, s.c.Tk / 8, s.c.D); }

void landmarks(attenta::LandmarkInputs&, Setup& s) { ranks(s, s.c.Hq, s.c.Tk / 64, s.c.D); }

void key_scores(attenta::SparsekInputs& x, Setup& s) { x.u = s.normal(s.c.Hkv, s.c.Tk, 1); }
void select_scored(const attenta::SparsekInputs& x, attenta::KeyLists& lists, const attenta::SparsekOptions& options,
                   attenta::Context&) {
    sparsek_lists(x, lists, options);
}

/// Sentences of 32 tokens, of which the first stands for them in a section of 512, whose first stands for it in the document.
void document(attenta::HierarchicalDocumentInputs& x, Setup& s) {
    constexpr std::int64_t step[] = {1, 32, 512}, size[] = {32, 512, std::int64_t{1} << 40};
    const std::int64_t T = s.c.Tk;
    const auto table = [&](auto&& entry) {
        return attenta::hnd(s.integers(3 * T, [&](std::int64_t i) { return entry(i / T, i % T); }).data(), 3, T, 1);
    };
    x.keep = table([&](std::int64_t level, std::int64_t t) { return std::int64_t{t % step[level] == 0}; });
    x.group = table([&](std::int64_t level, std::int64_t t) { return t / size[level]; });
    count(s.work, attenta::DocumentGroups(x.keep, x.group).lists(false, 1), s.c);
}

/// One token of 64 is global, the others are local, or slide by chance.
void types(attenta::TokenTypesInputs& x, Setup& s) {
    const auto numbers = s.integers(s.c.Hkv * s.c.Tk, [&](std::int64_t i) { return i % 64 == 0 ? 0 : 1 + s.any(2); });
    x.types = attenta::hnd(numbers.data(), s.c.Hkv, s.c.Tk, 1);
    count(s.work, attenta::LastReaders(x.types, 256).lists(s.c.Tq, 1), s.c);
}

/// Entries of `rate` tokens. Those of an indexer of 4 heads of 64 channels are read, or all.
auto entries(std::int64_t rate, std::int64_t read, bool indexed) {
    return [=](attenta::CompressedInputs& x, Setup& s) {
        const std::int64_t count = s.c.Tk / rate;
        x.k_cmp = s.rows(count, s.c.D);
        x.v_cmp = s.rows(count, s.c.D);
        count_shared(s.work, number(s.c.Hq * (128 + read)), s.c);
        if (!indexed) return;
        x.q_idx = s.normal(4, s.c.Tq, 64);
        x.w_idx = s.constant(1, 4, s.c.Tq);
        x.k_idx = s.rows(count, 64);
        ranks(s, 4, count, 64);
        s.work.select_bytes = number(4 * 64 * count);
    };
}

void social_network(attenta::SocialInputs& x, Setup& s) {
    const std::int64_t T = s.c.Tk;
    x.match = s.integers(T, [](std::int64_t t) { return std::int64_t{t % 64 == 0}; });
    x.w_static = x.w_dynamic = {s.uniform(1, T).data, static_cast<std::size_t>(T)};
    x.coin = s.uniform(T, T);
}

void global_tokens(attenta::LocalGlobalInputs& x, Setup& s) {
    x.global_index = s.integers(16, [](std::int64_t i) { return 512 * i; });
}

void random_blocks(attenta::BigbirdInputs& x, Setup& s) {
    const std::int64_t blocks = s.c.Tk / 64;
    x.rand_blocks =
        attenta::hnd(s.integers(3 * blocks, [&](std::int64_t) { return s.any(blocks); }).data(), 1, blocks, 3);
}

void passages(attenta::BlockRagInputs& x, Setup& s) {
    x.block_starts = s.integers(s.c.Tk / 512, [](std::int64_t i) { return 512 * i; });
}

/// Index heads of 64 channels, one for each K/V head.
void msa_indexer(attenta::MsaInputs& x, Setup& s) {
    x.q_idx = s.normal(s.c.Hkv, s.c.Tq, 64);
    x.k_idx = s.rows(s.c.Tk, 64);
    ranks(s, s.c.Hkv, s.c.Tk, 64);
}

/// Four index heads of 64 channels, keys of blocks of 4.
void qsa_indexer(attenta::QsaInputs& x, Setup& s) {
    x.q_idx = s.normal(4, s.c.Tq, 64);
    x.k_block = s.rows(s.c.Tk / 4, 64);
    ranks(s, 4, s.c.Tk / 4, 64);
    s.work.select_bytes = number(s.c.Tk * 64);
}

/// Near keys and regions, and each key once more by its region.
void regions(attenta::CombinerInputs&, Setup& s) {
    const double T = number(s.c.Tk);
    count_shared(s.work, number(s.c.Hq) * T * (91.0 / 2 + T / 91 / 2 + 1), s.c);
}

/// Of standard normal keys. Near ones have some 0.8 % of the weight: with a lower threshold they are all that is read.
void far_keys(attenta::HeadGatingInputs& x, Setup& s) {
    x.mean = s.constant(0, s.c.Hkv, 1, s.c.D);
    x.cov = identity(s);
    count_shared(s.work, number(s.c.Hq * 1040), s.c);
}

/// Of all keys.
void exact_ranks(attenta::RetrievalInputs&, Setup& s) {
    ranks(s, s.c.Hq, s.c.Tk, s.c.D);
    s.work.select_bytes = number(4 * s.c.Hkv * s.c.Tk * s.c.D);
}

}  // namespace

std::vector<SparseBench> sparse_works() {
    using namespace attenta;
    return {
        // Given lists and patterns.
        {decode("csr", "kept:2621"), bench::csr},
        {prefill("window", "keys:512"), window},
        {prefill("window", "keys:512", 4096), window, true},
        {prefill("block_sparse", "block:64,kept:0.1", 4096), bench::block_sparse, true},
        {prefill("block_sparse", "block:64,kept:0.1", 8192), bench::block_sparse},
        {prefill("strided", "stride:128", 8192), call<&strided>()},
        {prefill("fixed", "stride:128,c:8", 8192), call<&fixed>()},
        {full("local_global", "window:256,global:16"), call<&local_global>({}, global_tokens)},
        {full("local_chunk", "chunk:40,overlap:5"), call<&local_chunk>()},
        {full("bigbird", "block:64,window:3,global:1,random:3"), call<&bigbird>({}, random_blocks)},
        {full("head_strides", "stride:4"), call<&head_strides>()},
        {prefill("block_rag", "block:512", 8192), call<&block_rag>({}, passages)},
        {prefill("star", "context:8064,block:1024", 8192), call<&star>({.context = 8064, .block_size = 1024})},
        {full("hierarchical_document", "sentence:32,section:512"), call<&hierarchical_document>({}, document)},
        {prefill("token_types", "window:256,global:64", 8192), call<&token_types>({.window = 256}, types)},
        // Pages and blocks.
        {decode("quest", "page:16,top:163"),
         call<&quest>({.top_pages = 163}, quest_bounds(Dtype::f32), [](auto&&... a) { quest_lists(a...); })},
        {decode("quest", "page:16,top:163,bf16"),
         call<&quest>({.top_pages = 163}, quest_bounds(Dtype::bf16), [](auto&&... a) { quest_lists(a...); })},
        {prefill("moba", "block:512,top:2"),
         call<&moba>({.top_k = 2}, moba_means, [](auto&&... a) { moba_lists(a...); })},
        {prefill("nsa", "block:64,top:8,window:128"),
         call<&nsa>(nsa_options, nsa_branches, [](auto&&... a) { nsa_lists(a...); })},
        {prefill("minference", "columns:409,diagonals:512"),
         call<&minference>(minference_options, minference_lines, select_lines)},
        {prefill("xattention", "stride:8,block:128,threshold:0.1", 8192),
         call<&xattention>({.threshold = 0.1f}, antidiagonals, [](auto&&... a) { xattention_lists(a...); })},
        // Indexers.
        {decode("dsa", "top:2621", Layout::nhd),
         call<&dsa>({.top_k = 2621}, dsa_indexer, [](auto&&... a) { dsa_lists(a...); })},
        {prefill("msa", "block:128,top:8"),
         call<&msa>({.block_size = 128, .top_k = 8}, msa_indexer, [](auto&&... a) { msa_lists(a...); })},
        {decode("qsa", "ratio:4,budget:2048", Layout::nhd),
         call<&qsa>({}, qsa_indexer, [](auto&&... a) { qsa_lists(a...); })},
        {with_heads(decode("compressed", "rate:4,top:512,window:128"), 32, 1),
         call<&compressed>({.top_k = 512}, entries(4, 512, true), [](auto&&... a) { compressed_lists(a...); })},
        {with_heads(decode("compressed", "rate:128,window:128"), 32, 1),
         call<&compressed>({.rate = 128}, entries(128, 1024, false))},
        // What heads and tokens say of themselves.
        {prefill("combiner", "segment:91", 8192), call<&combiner>({.segment = 91}, regions)},
        {decode("head_gating", "sink:16,window:1024,near"), call<&head_gating>({.threshold = 1e-3f}, far_keys)},
        {decode("landmark", "block:64,top:32"),
         call<&landmark>({.top_k = 32}, landmarks, [](auto&&... a) { landmark_lists(a...); })},
        {with_heads(prefill("routing", "clusters:64,window:128", 8192), 8, 8), bench::routing},
        {full("social", "sparsity:0.07", 4096),
         call<&social>({}, social_network, [](auto&&... a) { social_lists(a...); })},
        {decode("sparsek", "k:2048,window:512"), call<&sparsek>({.k = 2048, .window = 512}, key_scores, select_scored)},
        // Retrieval of keys.
        {decode("loki", "d:32,top:2621"),
         call<&loki>({.d = 32, .top_k = 2621}, loki_basis(Dtype::f32), [](auto&&... a) { loki_lists(a...); })},
        {decode("loki", "d:32,top:2621,bf16"),
         call<&loki>({.d = 32, .top_k = 2621}, loki_basis(Dtype::bf16), [](auto&&... a) { loki_lists(a...); })},
        {decode("knn_memory", "local:2048,top:2048"), bench::knn_memory},
        {decode("retrieval", "sink:128,window:512,top:100"),
         call<&retrieval>({}, exact_ranks, [](auto&&... a) { retrieval_lists(a...); })},
        {decode("retrieval", "sink:128,window:512,top:100,index"), retrieval_index},
        {with_keys(decode("retrieval", "sink:128,window:512,top:100,index"), 32768), retrieval_index},
        {decode("modality_adaptive", "secondary:0.5,core:0.2"), bench::modality_adaptive},
        {last("triangular_spans", "spans:64", 128, 8192), bench::triangular_spans},
        {last("infini_retrieval", "phrase:8", 64, 16384), bench::infini_retrieval},
        // Documents.
        {with_heads(last("maxsim", "document:128", 32, 131072), 1, 1), bench::maxsim},
        {decode("rope_reencode", "in_place"), bench::rope_reencode},
    };
}

}  // namespace bench
