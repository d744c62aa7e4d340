#include <attenta/variants/scores/mega_attention.hpp>

#include <algorithm>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"
#include "variants/support/naive_mega.hpp"

namespace attenta_test {
namespace {

using attenta::MegaActivation, attenta::MegaAttentionInputs, attenta::MegaAttentionOptions;

MegaAttentionOptions& options(AttentionCase& c) { return options_of<MegaAttentionOptions>(c); }

/// A table for any distance that the suites' offsets make.
void put_table(AttentionCase& c) { c.put("rel_bias", 1, 1, 4 * (c.shape.Tq + c.shape.Tk) + 101, 0.5f); }
void put_vectors(AttentionCase& c) {
    c.put("bias_q", 1, 1, c.shape.D, 0.5f);
    c.put("bias_k", 1, 1, c.shape.D, 0.5f);
}

const auto& mechanism = test_attention<&attenta::mega_attention, &naive_mega_attention>(
    {.name = "mega_attention",
     .variants = {{"table", put_table},
                  {"laplace",
                   [](AttentionCase& c) {
                       options(c).activation = MegaActivation::laplace;
                       put_table(c);
                   }},
                  {"relu2 with vectors",
                   [](AttentionCase& c) {
                       options(c).activation = MegaActivation::relu2;
                       put_vectors(c);
                   }},
                  {"chunks",
                   [](AttentionCase& c) {
                       options(c).chunk = 11;
                       put_vectors(c);
                   }},
                  {"laplace in chunks",
                   [](AttentionCase& c) {
                       options(c).activation = MegaActivation::laplace;
                       options(c).chunk = 33;
                       options(c).visibility.causal = true;
                       put_table(c);
                   }}},
     .sizes =
         [](AttentionCase& c) {
             if (c.shape.D % 2 != 0) c.sizes["D"] = c.shape.D + 1;
             c.sizes["S"] = c.sizes["D"];
             c.sizes["E"] = c.shape.Dv;
         },
     .more_queries_than_keys = false});

TEST(MegaAttention, RefusesPositionsThatDoNotFit) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        AttentionCase c = attention_case(mechanism, {2, 1, 9, 40, 16, 8});
        spoil(c);
        Output got = output_of(c);
        Context context;
        const auto result = refuses([&] { call(c, got, context); }, words);
        const float fresh = untouched<float>();
        EXPECT_TRUE(same_bits(got.o.row(0, 0), &fresh, 1));
        return result;
    };
    EXPECT_TRUE(
        refused({"mega_attention", "rel_bias", "39", "40"}, [](AttentionCase& c) { c.put("rel_bias", 1, 1, 77); }));
    EXPECT_TRUE(refused({"mega_attention", "rel_bias", "78"}, [](AttentionCase& c) { c.put("rel_bias", 1, 1, 78); }));
    EXPECT_TRUE(refused({"mega_attention", "rel_bias", "17"}, [](AttentionCase& c) {
        c.put("rel_bias", 1, 1, 31);
        options(c).chunk = 17;
    }));
    EXPECT_TRUE(refused({"mega_attention", "rel_bias"}, [](AttentionCase& c) {
        c.put("rel_bias", 1, 1, 79);
        options(c).visibility.q_offset = 100;
    }));
    EXPECT_TRUE(refused({"mega_attention", "chunk", "0"}, [](AttentionCase& c) { options(c).chunk = 0; }));
    EXPECT_TRUE(refused({"mega_attention", "bias_k"}, [](AttentionCase& c) { c.put("bias_q", 1, 1, 16); }));
    EXPECT_TRUE(refused({"mega_attention", "bias_k"}, [](AttentionCase& c) {
        c.put("bias_q", 1, 1, 16);
        c.put("bias_k", 1, 1, 15);
    }));
    EXPECT_TRUE(refused({"mega_attention", "rel_bias", "bias_q"}, [](AttentionCase& c) {
        put_table(c);
        put_vectors(c);
    }));
    EXPECT_TRUE(refused({"mega_attention", "activation"},
                        [](AttentionCase& c) { options(c).activation = static_cast<MegaActivation>(5); }));
    AttentionCase odd = attention_case(mechanism, {2, 1, 9, 40, 16, 8});
    odd.view("q").dim = odd.view("k").dim = 15;
    odd.put("bias_q", 1, 1, 15), odd.put("bias_k", 1, 1, 15);
    Output got = output_of(odd);
    Context context;
    EXPECT_TRUE(refuses([&] { call(odd, got, context); }, {"mega_attention", "bias_q", "15"}));
}

/// A chunk longer than the sequence is all of it; a query before the first chunk sees nothing.
TEST(MegaAttention, ChunksBeyondTheEnds) {
    AttentionCase c = attention_case(mechanism, {2, 1, 9, 40, 16, 8});
    options(c).chunk = 1000;
    Context context;
    Output got = output_of(c);
    call(c, got, context);
    EXPECT_TRUE(close(got, mechanism.naive(c)));
    options(c).visibility.q_offset = -3;
    options(c).chunk = 8;
    call(c, got, context);
    EXPECT_TRUE(close(got, mechanism.naive(c)));
    EXPECT_EQ(got.o.row(0, 0)[0], 0.f);
}

}  // namespace
}  // namespace attenta_test
