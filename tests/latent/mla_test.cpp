// mla and grouped_latent equal their definition in both forms, on latents of any type and layout; what they refuse.
#include <attenta/kv.hpp>
#include <attenta/latent/grouped_latent.hpp>
#include <attenta/latent/mla.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "latent/support/naive_latent.hpp"
#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"

namespace attenta_test {
namespace {

using attenta::KvView;
using attenta::LatentForm;

struct Sizes {
    std::int64_t Hq, G, Tq, Tk, Dn, Dr, R, Dv;
};
std::ostream& operator<<(std::ostream& out, const Sizes& s) {
    return out << "Hq " << s.Hq << " G " << s.G << " Tq " << s.Tq << " Tk " << s.Tk << " Dn " << s.Dn << " Dr " << s.Dr
               << " R " << s.R << " Dv " << s.Dv;
}

struct LatentCase {
    explicit LatentCase(const Sizes& s, Order order = Order::head_token) : sizes(s), random(7) {
        q_nope = random_tensor(random, s.Hq, s.Tq, s.Dn, order, 3);
        q_pe = random_tensor(random, s.Hq, s.Tq, s.Dr, order, 1);
        c_kv = random_tensor(random, s.G, s.Tk, s.R, order, 2);
        k_pe = random_tensor(random, 1, s.Tk, s.Dr, order, 4);
        const float gain = 1 / std::sqrt(static_cast<float>(s.R));
        w_uk = random_tensor(random, s.Hq, s.Dn, s.R, Order::head_token, 0, gain);
        w_uv = random_tensor(random, s.Hq, s.Dv, s.R, Order::head_token, 0, gain);
    }
    attenta::MlaInputs inputs(const KvView& kv) const {
        return {q_nope.view(), q_pe.view(), kv, w_uk.view(), w_uv.view()};
    }
    KvView cache() const { return attenta::latent_cache(c_kv.view(), k_pe.view()); }
    /// What the options say, with the numbers of the latents as they are or as a cache holds them.
    Naive definition(const attenta::MlaOptions& o, const std::vector<double>& latents,
                     const std::vector<double>& rotary) const {
        const Sizes s = sizes;
        NaiveLatent naive{q_nope.view(), q_pe.view(), w_uk.view(), w_uv.view(),
                          o.scale ? double{*o.scale} : 1 / std::sqrt(static_cast<double>(s.Dn + s.Dr))};
        naive.sink.assign(o.sink.begin(), o.sink.end());
        return naive.attend(
            s.G, s.Tk, s.Tk - s.Tq,
            [&](std::int64_t g, std::int64_t j, std::int64_t) { return latents.data() + (g * s.Tk + j) * s.R; },
            [&](std::int64_t j) { return rotary.data() + j * s.Dr; },
            [&](std::int64_t i, std::int64_t j) {
                return (!o.causal || j <= i) && (o.window_left < 0 || j >= i - o.window_left);
            });
    }
    Naive definition(const attenta::MlaOptions& o) const { return definition(o, in_double(c_kv), in_double(k_pe)); }

    Sizes sizes;
    Random random;
    Tensor<float> q_nope, q_pe, c_kv, k_pe, w_uk, w_uv;
};

Output attend(const LatentCase& c, const KvView& kv, const attenta::MlaOptions& options, attenta::Context& context,
              Order order = Order::head_token) {
    Output out(c.sizes.Hq, c.sizes.Tq, c.sizes.Dv, order, 2);
    attenta::grouped_latent(c.inputs(kv), {out.o.view(), out.lse.data()}, options, context);
    return out;
}

const Sizes shapes[] = {{1, 1, 1, 1, 1, 1, 1, 1},      {4, 1, 1, 37, 16, 8, 24, 12},  {3, 1, 5, 61, 20, 6, 33, 18},
                        {6, 3, 1, 45, 14, 8, 22, 14},  {4, 2, 70, 70, 12, 6, 18, 10}, {8, 1, 3, 300, 16, 16, 48, 16},
                        {16, 2, 9, 140, 8, 4, 40, 24}, {128, 1, 1, 150, 4, 8, 32, 5}};

TEST(Mla, EqualsTheDefinitionInBothForms) {
    on_every_isa([&](attenta::Context& context) {
        for (const Sizes& s : shapes)
            for (const Order order : {Order::head_token, Order::token_head}) {
                const LatentCase c(s, order);
                attenta::MlaOptions variants[4];
                const std::vector<float> sink = Random(3).normals(s.Hq);
                variants[1].causal = false;
                variants[1].scale = 0.37f;
                variants[2].window_left = 11;
                variants[3].sink = sink;
                for (attenta::MlaOptions& o : variants) {
                    const Naive want = c.definition(o);
                    for (const LatentForm form : {LatentForm::automatic, LatentForm::expanded, LatentForm::absorbed}) {
                        o.form = form;
                        EXPECT_TRUE(close(attend(c, c.cache(), o, context, order), want))
                            << s << ", form " << static_cast<int>(form) << ", option " << &o - variants;
                    }
                }
            }
    });
}

/// The head sizes of DeepSeek V2, V3 and Kimi: 576 channels of a key, of which 512 are the value.
TEST(Mla, EqualsTheDefinitionForTheHeadSizesInUse) {
    for (const Sizes& s : {Sizes{16, 1, 1, 200, 128, 64, 512, 128}, {4, 1, 3, 130, 128, 64, 512, 128}}) {
        const LatentCase c(s);
        attenta::MlaOptions o;
        o.window_left = 150;
        const std::vector<float> sink = Random(3).normals(s.Hq);
        o.sink = sink;
        const Naive want = c.definition(o);
        for (const LatentForm form : {LatentForm::expanded, LatentForm::absorbed}) {
            o.form = form;
            EXPECT_TRUE(close(attend(c, c.cache(), o, attenta::default_context()), want)) << s;
        }
    }
}

/// More queries than fit at once go in ranges, each with its place in lse.
TEST(Mla, ManyQueriesAreOneCall) {
    const LatentCase c({32, 1, 260, 270, 4, 4, 120, 4});
    attenta::MlaOptions o;
    o.form = LatentForm::absorbed;
    on_every_isa(
        [&](attenta::Context& context) { EXPECT_TRUE(close(attend(c, c.cache(), o, context), c.definition(o))); });
}

template <class T>
void expect_types(const LatentCase& c) {
    const Tensor<T> latents = converted<T>(c.c_kv.view()), rotary = converted<T>(c.k_pe.view());
    const Naive want =
        c.definition({}, in_double(converted<float>(latents.view())), in_double(converted<float>(rotary.view())));
    for (const LatentForm form : {LatentForm::expanded, LatentForm::absorbed}) {
        attenta::MlaOptions o;
        o.form = form;
        const KvView kv = attenta::latent_cache(latents.view(), rotary.view());
        EXPECT_TRUE(close(attend(c, kv, o, attenta::default_context()), want)) << c.sizes;
        const KvView mixed = attenta::latent_cache(latents.view(), c.k_pe.view());
        EXPECT_TRUE(close(attend(c, mixed, o, attenta::default_context()),
                          c.definition({}, in_double(converted<float>(latents.view())), in_double(c.k_pe))));
    }
}

TEST(Mla, ReadsLatentsOfAnyType) {
    for (const Sizes& s : shapes) {
        const LatentCase c(s);
        expect_types<attenta::bfloat16>(c);
        expect_types<attenta::float16>(c);
    }
}

/// A cache whose keys are the rotary keys and whose values are the latents.
TEST(Mla, ReadsCachesOfCodes) {
    for (const Sizes& s :
         {Sizes{4, 1, 1, 70, 16, 8, 32, 12}, {80, 1, 1, 150, 16, 8, 48, 12}, {4, 1, 30, 70, 16, 8, 20, 9}}) {
        const LatentCase c(s);
        for (const auto& storage : {attenta::KvStorage(attenta::Dtype::f32, attenta::KvFormat::codes(8, true)),
                                    {attenta::KvFormat::codes(4, false, 4), attenta::KvFormat::codes(4, false, 4)}}) {
            attenta::KvCache cache({.kv_heads = 1, .dim = s.Dr, .dim_v = s.R, .capacity = s.Tk, .storage = storage});
            cache.append(0, c.k_pe.view(), c.c_kv.view());
            KvView kv = cache.view(0);
            std::vector<double> latents, rotary;
            std::vector<float> row(static_cast<std::size_t>(s.R + s.Dr));
            for (std::int64_t t = 0; t < s.Tk; ++t) {
                const std::byte *k, *v;
                kv.locate(0, t, 1, &k, &v);
                attenta::detail::load_row(v, s.R, kv.v.dtype, kv.v.codes, row.data());
                latents.insert(latents.end(), row.begin(), row.begin() + s.R);
                attenta::detail::load_row(k, s.Dr, kv.k.dtype, kv.k.codes, row.data());
                rotary.insert(rotary.end(), row.begin(), row.begin() + s.Dr);
            }
            kv.tied = s.R;
            for (const LatentForm form : {LatentForm::expanded, LatentForm::absorbed}) {
                attenta::MlaOptions o;
                o.form = form;
                on_every_isa([&](attenta::Context& context) {
                    EXPECT_TRUE(close(attend(c, kv, o, context), c.definition({}, latents, rotary))) << s;
                });
            }
        }
    }
}

/// Pages of [latent, rotary key] rows are read as ordinary keys; other pages as they are. Both are one result.
TEST(Mla, ReadsPages) {
    for (const Sizes& s : shapes) {
        const LatentCase c(s);
        if (s.G > 1) continue;
        for (const PageLayout layout : {PageLayout::token_head, PageLayout::token_head_fused}) {
            const PagedPool<float> pool({{c.k_pe.view(), c.c_kv.view()}}, 16, layout);
            KvView kv = pool.view();
            kv.tied = s.R;
            for (const LatentForm form : {LatentForm::expanded, LatentForm::absorbed}) {
                attenta::MlaOptions o;
                o.form = form;
                EXPECT_TRUE(close(attend(c, kv, o, attenta::default_context()), c.definition(o))) << s;
            }
        }
    }
    const LatentCase c(shapes[5]);
    const Sizes& s = c.sizes;
    std::vector<float> rows;
    for (std::int64_t t = 0; t < s.Tk; ++t) {
        rows.insert(rows.end(), c.c_kv.row(0, t), c.c_kv.row(0, t) + s.R);
        rows.insert(rows.end(), c.k_pe.row(0, t), c.k_pe.row(0, t) + s.Dr);
    }
    const attenta::Strides strides{.token_stride = s.R + s.Dr};
    const KvView kv = attenta::latent_cache(attenta::hnd<const float>(rows.data(), 1, s.Tk, s.R, strides),
                                            attenta::hnd<const float>(rows.data() + s.R, 1, s.Tk, s.Dr, strides));
    EXPECT_TRUE(close(attend(c, kv, {}, attenta::default_context()), c.definition({})));
}

/// A sequence in a batch gets what it gets alone.
TEST(Mla, BatchesOfAnyLengths) {
    const LatentCase first({4, 1, 3, 50, 16, 8, 24, 12}), second({4, 1, 1, 21, 16, 8, 24, 12});
    const PagedPool<float> pool({{first.k_pe.view(), first.c_kv.view()}, {second.k_pe.view(), second.c_kv.view()}}, 16,
                                PageLayout::head_token);
    KvView kv = pool.view();
    kv.tied = 24;
    Tensor<float> q_nope(4, 4, 16), q_pe(4, 4, 8);
    for (std::int64_t h = 0; h < 4; ++h)
        for (std::int64_t t = 0; t < 4; ++t) {
            const LatentCase& from = t < 3 ? first : second;
            std::copy_n(from.q_nope.row(h, t % 3), 16, q_nope.row(h, t));
            std::copy_n(from.q_pe.row(h, t % 3), 8, q_pe.row(h, t));
        }
    const std::int32_t lengths[] = {3, 1};
    Output out(4, 4, 12);
    attenta::mla({q_nope.view(), q_pe.view(), kv, first.w_uk.view(), first.w_uv.view(), lengths},
                 {out.o.view(), out.lse.data()});
    attenta::MlaOptions absorbed;
    absorbed.form = LatentForm::absorbed;
    LatentCase same = LatentCase({4, 1, 1, 21, 16, 8, 24, 12});
    const Output a = attend(first, first.cache(), absorbed, attenta::default_context());
    Output b(4, 1, 12);
    attenta::mla({same.q_nope.view(), same.q_pe.view(), same.cache(), first.w_uk.view(), first.w_uv.view()},
                 {b.o.view(), b.lse.data()}, absorbed);
    for (std::int64_t h = 0; h < 4; ++h)
        for (std::int64_t t = 0; t < 4; ++t)
            for (std::int64_t e = 0; e < 12; ++e)
                EXPECT_NEAR(out.o.row(h, t)[e], t < 3 ? a.o.row(h, t)[e] : b.o.row(h, 0)[e], 1e-5f);
}

TEST(Mla, GivesTheSameBitsForAnyThreads) {
    const LatentCase c({16, 2, 40, 140, 24, 8, 40, 24});
    attenta::ThreadPool one(1), three(3);
    attenta::Context alone(one), context(three);
    for (const LatentForm form : {LatentForm::expanded, LatentForm::absorbed}) {
        attenta::MlaOptions o;
        o.form = form;
        const Output a = attend(c, c.cache(), o, alone), b = attend(c, c.cache(), o, context);
        a.o.each_row([&](const float* row, std::int64_t h, std::int64_t t) {
            EXPECT_TRUE(same_bits(row, b.o.row(h, t), c.sizes.Dv));
        });
    }
}

TEST(MlaErrors, RefusesWhatDoesNotFit) {
    const Sizes s{4, 2, 3, 20, 8, 4, 12, 6};
    const LatentCase c(s);
    Output out(s.Hq, s.Tq, s.Dv);
    const auto call = [&](auto&& change, attenta::MlaOptions o = {}) {
        return [&c, &out, o, change] {
            attenta::MlaInputs x = c.inputs(c.cache());
            attenta::LatentOutputs to{out.o.view(), out.lse.data()};
            change(x, to);
            attenta::grouped_latent(x, to, o);
        };
    };
    using In = attenta::MlaInputs;
    using Out = attenta::LatentOutputs;
    EXPECT_TRUE(refuses(call([](In& x, Out&) { x.q_pe.dim = 3; }), {"grouped_latent", "k_pe", "4", "3"}));
    EXPECT_TRUE(refuses(call([](In& x, Out&) { x.q_nope.tokens = 2; }), {"q_pe", "3", "2"}));
    EXPECT_TRUE(refuses(call([](In& x, Out&) { x.w_uk.dim = 11; }), {"w_uk", "11", "12"}));
    EXPECT_TRUE(refuses(call([](In& x, Out&) { x.w_uv.heads = 3; }), {"w_uv", "3", "4"}));
    EXPECT_TRUE(refuses(call([](In& x, Out&) { x.w_uk.data = nullptr; }), {"w_uk"}));
    EXPECT_TRUE(refuses(call([](In& x, Out&) { x.kv.tied = 0; }), {"kv.tied", "0", "12"}));
    EXPECT_TRUE(refuses(call([](In& x, Out&) { x.kv.tied = 13; }), {"kv.tied", "13", "12"}));
    EXPECT_TRUE(refuses(call([](In& x, Out&) { x.kv.tokens = 2; }), {"q_nope", "3", "2"}));
    EXPECT_TRUE(refuses(call([](In&, Out& o) { o.o.dim = 7; }), {"o", "7", "6"}));
    EXPECT_TRUE(refuses(call([](In&, Out& o) { o.o.data = nullptr; }), {"o", "null"}));
    EXPECT_TRUE(refuses(call([](In& x, Out& o) {
                            o.o.data = const_cast<float*>(
                                x.kv.v.dtype == attenta::Dtype::f32 ? static_cast<const float*>(x.kv.v.data) : nullptr);
                        }),
                        {"o", "overlaps", "c_kv"}));
    EXPECT_TRUE(refuses(call([](In&, Out& o) { o.lse = o.o.data; }), {"lse", "overlaps"}));
    const auto with = [](auto&& set) {
        attenta::MlaOptions o;
        set(o);
        return o;
    };
    const auto nothing = [](In&, Out&) {};
    const std::vector<float> sink(3);
    using Options = attenta::MlaOptions;
    EXPECT_TRUE(refuses(call(nothing, with([](Options& o) { o.scale = 0.f; })), {"scale"}));
    EXPECT_TRUE(refuses(call(nothing, with([](Options& o) { o.window_left = -2; })), {"window_left", "2"}));
    EXPECT_TRUE(refuses(call(nothing, with([&](Options& o) { o.sink = sink; })), {"sink", "3", "4"}));
    EXPECT_TRUE(refuses([&] { attenta::mla(c.inputs(c.cache()), {out.o.view(), nullptr}); }, {"mla", "kv", "2"}));
    const LatentCase other({4, 2, 3, 19, 8, 4, 12, 6});
    EXPECT_TRUE(refuses([&] { attenta::latent_cache(c.c_kv.view(), other.k_pe.view()); },
                        {"latent_cache", "k_pe", "19", "20"}));
    out.o.each_row([&](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
    for (const float x : out.lse) EXPECT_TRUE(std::isnan(x));
}

/// A NaN in a latent reaches the queries that see it, of the heads of its group.
TEST(Mla, NanStaysWithWhoSeesIt) {
    const Sizes s{4, 2, 40, 40, 8, 4, 12, 6};
    LatentCase c(s);
    const LatentCase clean(s);
    c.c_kv.row(1, 20)[3] = std::numeric_limits<float>::quiet_NaN();
    for (const LatentForm form : {LatentForm::expanded, LatentForm::absorbed}) {
        attenta::MlaOptions o;
        o.form = form;
        on_every_isa([&](attenta::Context& context) {
            const Output got = attend(c, c.cache(), o, context), want = attend(clean, clean.cache(), o, context);
            got.o.each_row([&](const float* row, std::int64_t h, std::int64_t t) {
                if (h >= 2 && t >= 20)
                    EXPECT_TRUE(std::isnan(row[0]));
                else
                    EXPECT_TRUE(same_bits(row, want.o.row(h, t), s.Dv)) << h << " " << t;
            });
        });
    }
}

}  // namespace
}  // namespace attenta_test
