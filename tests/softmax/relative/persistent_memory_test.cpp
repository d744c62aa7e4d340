#include <attenta/softmax/relative/persistent_memory.hpp>

#include "naive_relative.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::PersistentMemoryInputs, attenta::PersistentMemoryOptions;

Naive definition(const PersistentMemoryInputs& x, const PersistentMemoryOptions& o) {
    const View k = k_of(x.kv), v = v_of(x.kv);
    const std::int64_t heads = x.q.heads, queries = x.q.tokens, keys = k.tokens, memory = x.k_mem.tokens,
                       offset = o.visibility.q_offset.value_or(keys - queries);
    Tensor<float> values(v.heads, keys + memory, v.dim);
    values.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        std::copy_n(t < keys ? v.row(h, t) : x.v_mem.row(h, t - keys), v.dim, row);
    });
    return NaiveAttention{.score =
                              [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                                  const auto q = wide(x.q.row(h, i), x.q.dim);
                                  double s = 0;
                                  if (j >= keys)
                                      s = naive_dot(q, row_of(x.k_mem, h, heads, j - keys));
                                  else if (x.rel_k.data)
                                      s = naive_dot(
                                          q, plus(row_of(k, h, heads, j), row_of(x.rel_k, h, heads, i + offset - j)));
                                  else
                                      s = naive_dot(q, row_of(k, h, heads, j));
                                  return s * naive_scale(o.scale, x.q.dim);
                              },
                          .sees =
                              [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                                  if (j >= keys) return true;
                                  const std::int64_t n = i + offset - j;
                                  if (n == 0 && !o.include_self) return false;
                                  if (x.rel_k.data && (n < 0 || n >= x.rel_k.tokens)) return false;
                                  return naive_sees(o.visibility, h, i, queries, j, keys);
                              }}(heads, queries, values.view());
}

const auto& mechanism = test_attention<&attenta::persistent_memory, &definition>(
    {.name = "persistent_memory",
     .variants = {{"distances of all heads", [](AttentionCase& c) { c.sizes["Hr"] = 1, c.sizes["TL"] = 7; }},
                  {"distances of each head, not its own key, scale",
                   [](AttentionCase& c) {
                       c.sizes["Hr"] = c.shape.Hq, c.sizes["TL"] = 30;
                       options_of<PersistentMemoryOptions>(c).include_self = false;
                       options_of<PersistentMemoryOptions>(c).scale = -0.4f;
                   }},
                  {"one distance", [](AttentionCase& c) { c.sizes["Hr"] = 1, c.sizes["TL"] = 1, c.sizes["TN"] = 1; }},
                  {"not its own key",
                   [](AttentionCase& c) { options_of<PersistentMemoryOptions>(c).include_self = false; }}},
     .sizes = [](AttentionCase& c) { c.sizes["TN"] = 5, c.sizes["Hr"] = 1, c.sizes["TL"] = 0; },
     .fill =
         [](AttentionCase& c) {
             if (c.sizes["TL"] > 0) c.put("rel_k", c.sizes["Hr"], c.sizes["TL"], c.shape.D);
         }});

TEST(PersistentMemoryErrors, RefusesWhatDoesNotFit) {
    AttentionCase c = attention_case(mechanism, {4, 2, 3, 20, 8, 8}, 1);
    Output out = output_of(c);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            PersistentMemoryInputs x = inputs_of<PersistentMemoryInputs>(c);
            change(x);
            attenta::persistent_memory(x, {out.o.view(), out.lse.data()});
        };
    };
    EXPECT_TRUE(
        refuses(call_with([](auto& x) { x.k_mem.tokens = x.v_mem.tokens = 0; }), {"persistent_memory", "k_mem", "0"}));
    EXPECT_TRUE(refuses(call_with([](auto& x) { x.v_mem.tokens = 4; }), {"v_mem", "4", "5"}));
    EXPECT_TRUE(refuses(call_with([](auto& x) { x.rel_k.heads = 3, x.rel_k.head_stride = 0; }), {"rel_k", "3", "4"}));
    out.o.each_row([](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
}

}  // namespace
}  // namespace attenta_test
