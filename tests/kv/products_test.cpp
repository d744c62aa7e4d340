// Products of rows with the keys that heads hold, which differ from head to head, on every storage.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kv/support/policy.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

/// Head g keeps its 20 + g newest tokens; compares products with those of the keys one by one.
class ComparesProducts final : public attenta::EvictionPolicy {
public:
    ComparesProducts(std::int64_t heads, std::int64_t rows, std::int64_t dim)
        : heads_(heads), rows_(rows), dim_(dim), x_(Random(8).normals(heads * rows * dim)) {}

    attenta::EvictionNeeds needs(const attenta::EvictionShape&) override { return {}; }
    void judge(const attenta::EvictionMoment& now, std::span<const attenta::HeldTokens> heads,
               std::span<attenta::EvictionChoice> choices) override {
        std::int64_t calls = 0;
        std::vector<float> key(NaiveCache::u(dim_));
        const auto x = attenta::hnd<const float>(x_.data(), heads_, rows_, dim_);
        now.attention->products(x, [&](std::int64_t head, std::int64_t row, std::span<const float> products) {
            const attenta::HeldTokens& held = heads[NaiveCache::u(head * std::ssize(heads) / heads_)];
            ASSERT_EQ(std::ssize(products), held.size());
            ++calls;
            for (std::int64_t slot = 0; slot < held.size(); ++slot) {
                held.load_key(slot, key.data());
                double product = 0;
                for (std::size_t c = 0; c < key.size(); ++c) product += double{key[c]} * double{x.row(head, row)[c]};
                ASSERT_NEAR(products[NaiveCache::u(slot)], product, 2e-4 + 1e-4 * std::abs(product));
            }
        });
        ASSERT_EQ(calls, heads_ * rows_);
        for (const attenta::HeldTokens& held : heads) choices[NaiveCache::u(held.head)].keep = 20 + held.head;
    }

private:
    std::int64_t heads_, rows_, dim_;
    std::vector<float> x_;
};

TEST(HeldAttention, ProductsAreThoseOfKeysOneByOne) {
    const EvictionCase x({44, 39, 6, 3, 16, 16}, 2);
    for (const auto& storage : {attenta::KvStorage(), attenta::KvStorage(attenta::Dtype::bf16),
                                attenta::KvStorage::int8(), attenta::KvStorage::rotated(8, 8, 16)})
        for (const std::int64_t rows : {1, 40})
            for (const std::int64_t heads : {3, 6}) {
                SCOPED_TRACE(testing::Message() << rows << " rows of " << heads << " heads");
                on_every_isa([&](attenta::Context& context) {
                    ComparesProducts compares(heads, rows, 16);
                    run_policy(x, compares, context, storage);
                });
            }
}

}  // namespace
}  // namespace attenta_test
