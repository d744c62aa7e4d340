#include <attenta/sparse/retrieval/knn_memory.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/paged.hpp"

namespace attenta_test {
namespace {

using attenta::KnnMemoryInputs, attenta::KnnMemoryOptions;

/// One softmax over local j <= i and the top_k keys of the memory.
Naive naive_knn_memory(const KnnMemoryInputs& x, const KnnMemoryOptions& options) {
    const View k = k_of(x.kv), v = v_of(x.kv), mk = k_of(x.memory), mv = v_of(x.memory);
    const double scale = naive_scale(options.scale, x.q.dim);
    Naive result = naive_result(x.q, x.kv);
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::int64_t i = 0; i < x.q.tokens; ++i) {
            const std::int64_t kv_head = h / (x.q.heads / k.heads);
            NaiveRow row;
            for (std::int64_t j = 0; j <= k.tokens - x.q.tokens + i; ++j)
                row.add(scale * naive_dot(x.q.row(h, i), k.row(kv_head, j), k.dim), v.row(kv_head, j));
            std::vector<double> score;
            for (std::int64_t m = 0; m < mk.tokens; ++m)
                score.push_back(naive_dot(x.q.row(h, i), mk.row(kv_head, m), k.dim));
            for (const std::int64_t m : best(score, options.top_k.value_or(mk.tokens)))
                row.add(scale * score[static_cast<std::size_t>(m)], mv.row(kv_head, m));
            row.finish(result, h, i);
        }
    return result;
}

KnnMemoryOptions& options(SparseCase& c) { return options_of<KnnMemoryOptions>(c); }

const auto& mechanism = test_sparse<&attenta::knn_memory, naive_knn_memory>({
    .name = "knn_memory",
    .variants = {{"all of the memory", [](SparseCase& c) { options(c).top_k.reset(); }},
                 {"nothing of the memory", [](SparseCase& c) { options(c).top_k = 0; }},
                 {"a memory smaller than top_k", [](SparseCase& c) { c.sizes["Tm"] = 3; }},
                 {"a long memory", [](SparseCase& c) { c.sizes["Tm"] = 700; }}},
    .sizes = [](SparseCase& c) { c.sizes["Tm"] = 41, options(c).top_k = 6; },
    .select = Selection<&attenta::knn_memory_lists>::call,
});

/// The memory in pages, of halves.
TEST(KnnMemory, ReadsAnyCache) {
    SparseCase c = sparse_case(mechanism, {4, 2, 7, 30, 16, 16});
    const auto k = converted<attenta::bfloat16>(c.view("mem_k")), v = converted<attenta::bfloat16>(c.view("mem_v"));
    c.floats.insert_or_assign("mem_k", converted<float>(k.view()));
    c.floats.insert_or_assign("mem_v", converted<float>(v.view()));
    const Naive want = naive(c);
    Context context;
    for (const auto order : {PageLayout::token_head, PageLayout::head_token}) {
        const PagedPool<attenta::bfloat16> pool({{c.view("mem_k"), c.view("mem_v")}}, 8, order);
        c.caches.insert_or_assign("mem_k", pool.view());
        Output got = output_of(c);
        call(c, got, context);
        EXPECT_TRUE(close(got, want));
    }
}

TEST(KnnMemoryErrors, Memory) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        SparseCase c = sparse_case(mechanism, {4, 2, 7, 30, 16, 24});
        KnnMemoryInputs x = inputs_of<KnnMemoryInputs>(c);
        Output out = output_of(c);
        attenta::SparseOutputs to{.o = out.o.view(), .lse = out.lse.data()};
        spoil(x, to, options(c));
        return refuses([&] { attenta::knn_memory(x, to, options(c)); }, words);
    };
    EXPECT_TRUE(refused({"knn_memory", "top_k", "-1", "0"}, [](auto&, auto&, auto& o) { o.top_k = -1; }));
    EXPECT_TRUE(refused({"knn_memory", "mem_k", "3", "2"}, [](auto& x, auto&, auto&) { x.memory.heads = 3; }));
    EXPECT_TRUE(refused({"knn_memory", "mem_k", "15", "16"}, [](auto& x, auto&, auto&) { x.memory.k.dim = 15; }));
    EXPECT_TRUE(refused({"knn_memory", "mem_v", "23", "24"}, [](auto& x, auto&, auto&) { x.memory.v.dim = 23; }));
    EXPECT_TRUE(refused({"knn_memory", "mem_k", "tokens"}, [](auto& x, auto&, auto&) { x.memory.tokens = 0; }));
    EXPECT_TRUE(refused({"knn_memory", "memory", "2", "one"}, [](auto& x, auto&, auto&) { x.memory.sequences = 2; }));
    EXPECT_TRUE(refused({"knn_memory", "o", "overlaps"}, [](auto& x, auto& to, auto&) {
        to.o.data = static_cast<float*>(const_cast<void*>(x.memory.v.data));
    }));
}

}  // namespace
}  // namespace attenta_test
