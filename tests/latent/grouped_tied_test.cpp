// grouped_tied equals softmax attention with keys written out; what it refuses.
#include <attenta/latent/grouped_tied.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <string>

#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

struct Sizes {
    std::int64_t Hq, Hkv, Tq, Tk, D, Dr;
};
std::ostream& operator<<(std::ostream& out, const Sizes& s) {
    return out << "Hq " << s.Hq << " Hkv " << s.Hkv << " Tq " << s.Tq << " Tk " << s.Tk << " D " << s.D << " Dr "
               << s.Dr;
}

/// k_gj = [u_gj[0 : D - Dr], k_j], v_gj = u_gj
struct TiedCase {
    explicit TiedCase(const Sizes& s) : sizes(s), random(3) {
        q = random_tensor(random, s.Hq, s.Tq, s.D);
        u = random_tensor(random, s.Hkv, s.Tk, s.D, Order::token_head, 3);
        k_pe = random_tensor(random, 1, s.Tk, s.Dr);
        keys = converted<float>(u.view());
        keys.each_row(
            [&](float* row, std::int64_t, std::int64_t t) { std::copy_n(k_pe.row(0, t), s.Dr, row + s.D - s.Dr); });
    }
    Naive definition(const attenta::SoftmaxOptions& o) const {
        return naive_softmax(q.view(), keys.view(), u.view(), o, {});
    }

    Sizes sizes;
    Random random;
    Tensor<float> q, u, k_pe, keys;
};

const Sizes shapes[] = {{1, 1, 1, 1, 2, 1},     {6, 1, 1, 59, 18, 6},     {4, 2, 37, 37, 20, 10}, {2, 2, 5, 13, 9, 4},
                        {8, 2, 2, 300, 64, 32}, {4, 4, 140, 150, 33, 16}, {64, 1, 1, 200, 40, 8}};

TEST(GroupedTied, EqualsTheDefinition) {
    on_every_isa([&](attenta::Context& context) {
        for (const Sizes& s : shapes) {
            const TiedCase c(s);
            attenta::SoftmaxOptions variants[3];
            variants[0].causal = true;
            variants[1].scale = 0.6f;
            variants[2].causal = true, variants[2].window_left = 20, variants[2].softcap = 3;
            for (const attenta::SoftmaxOptions& o : variants) {
                Output out(s.Hq, s.Tq, s.D);
                attenta::grouped_tied(c.q.view(), attenta::tied_cache(c.u.view(), c.k_pe.view()), out.o.view(), o,
                                      out.lse.data(), context);
                EXPECT_TRUE(close(out, c.definition(o))) << s;
            }
        }
    });
}

/// Pages whose keys all heads share, of halves, on the keys of a window.
TEST(GroupedTied, ReadsPagesOfHalves) {
    for (const Sizes& s : shapes) {
        TiedCase c(s);
        Tensor<float> shared(s.Hkv, s.Tk, s.Dr);
        const auto round = [](float x) { return static_cast<float>(static_cast<attenta::bfloat16>(x)); };
        for (Tensor<float>* x : {&c.u, &c.k_pe, &c.keys})
            x->each_row([&](float* row, std::int64_t, std::int64_t) {
                for (std::int64_t i = 0; i < x->view().dim; ++i) row[i] = round(row[i]);
            });
        shared.each_row([&](float* row, std::int64_t, std::int64_t t) { std::copy_n(c.k_pe.row(0, t), s.Dr, row); });
        const PagedPool<attenta::bfloat16> pool({{shared.view(), c.u.view()}}, 16, PageLayout::head_token);
        attenta::KvView kv = pool.view();
        kv.tied = s.D - s.Dr;
        on_every_isa([&](attenta::Context& context) {
            Output out(s.Hq, s.Tq, s.D);
            attenta::grouped_tied(c.q.view(), kv, out.o.view(), {.causal = true}, out.lse.data(), context);
            EXPECT_TRUE(close(out, c.definition({.causal = true}))) << s;
        });
    }
}

TEST(GroupedTiedErrors, RefusesWhatDoesNotFit) {
    const TiedCase c({4, 2, 3, 20, 8, 3});
    Output out(4, 3, 8);
    attenta::KvView kv = attenta::tied_cache(c.u.view(), c.k_pe.view());
    EXPECT_TRUE(refuses([&] { attenta::tied_cache(c.u.view(), c.u.view()); }, {"tied_cache", "k_pe", "8"}));
    for (const std::int64_t tied : {0, 4, 9}) {
        kv.tied = tied;
        EXPECT_TRUE(refuses([&] { attenta::grouped_tied(c.q.view(), kv, out.o.view()); }, {"grouped_tied", "8"}))
            << tied;
    }
    kv.tied = -1;
    EXPECT_TRUE(refuses([&] { attenta::softmax_attention(c.q.view(), kv, out.o.view()); }, {"kv.tied"}));
    kv = attenta::tied_cache(c.u.view(), c.k_pe.view());
    kv.heads = 3;
    EXPECT_TRUE(refuses([&] { attenta::grouped_tied(c.q.view(), kv, out.o.view()); }, {"q", "4", "3"}));
    out.o.each_row([&](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
}

}  // namespace
}  // namespace attenta_test
