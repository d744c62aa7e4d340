#include <attenta/variants/structured/head_offset.hpp>

#include <optional>

#include "support/errors.hpp"
#include "variants/support/call.hpp"

namespace attenta_test {
namespace {

using attenta::HeadOffsetInputs, attenta::HeadOffsetOptions, attenta::OffsetMode;

//   o ← (1 + gain) o + strength gate offset, or strength gate offset
Wanted definition(const HeadOffsetInputs& x, const Heads<const float>& before, const HeadOffsetOptions& options) {
    std::vector<double> o;
    for (std::int64_t h = 0; h < before.heads; ++h)
        for (std::int64_t t = 0; t < before.tokens; ++t)
            o.insert(o.end(), before.row(h, t), before.row(h, t) + before.dim);
    std::vector<std::int64_t> rows(x.positions.begin(), x.positions.end());
    for (std::int64_t t = 0; x.positions.empty() && t < before.tokens; ++t) rows.push_back(t);
    for (std::int64_t n = 0; n < x.offset.rows; ++n)
        for (const std::int64_t t : rows)
            for (std::int64_t d = 0; d < before.dim; ++d) {
                const std::int64_t h = x.heads.empty() ? n : x.heads.data()[n];
                double& e = o[static_cast<std::size_t>((h * before.tokens + t) * before.dim + d)];
                const double added = double{options.strength} * double{x.offset.row(0, n)[d]} *
                                     (x.gate ? double{x.gate.row(0, n)[t]} : 1);
                if (options.mode == OffsetMode::replace) e = 0;
                if (options.mode == OffsetMode::add && x.gain) e *= 1 + double{x.gain.row(0, n)[d]};
                e += added;
            }
    return {{"o", o}};
}

struct Case {
    Case(std::int64_t H, std::int64_t T, std::int64_t D, std::vector<std::int64_t> of_heads,
         std::vector<std::int64_t> of_rows, bool gain, bool gate)
        : d(static_cast<std::uint64_t>(T), 3), heads(std::move(of_heads)), positions(std::move(of_rows)) {
        before = d.heads(H, T, D);
        const std::int64_t N = heads.empty() ? H : static_cast<std::int64_t>(heads.size());
        x.offset = d.matrix(N, D);
        x.heads = heads, x.positions = positions;
        if (gain) x.gain = d.matrix(N, D, 0.3f);
        if (gate) x.gate = d.matrix(N, T);
    }
    Room room() const {
        Room o(before.heads, before.tokens, before.dim);
        for (std::int64_t h = 0; h < before.heads; ++h)
            for (std::int64_t t = 0; t < before.tokens; ++t)
                std::copy_n(before.row(h, t), before.dim, o.view().row(h, t));
        return o;
    }
    void expect_definition(const HeadOffsetOptions& options) const {
        expect_everywhere(
            [&](Context& context) {
                const Room o = room();
                attenta::head_offset(x, o.view(), options, context);
                return Results{{"o", o.rows()}};
            },
            definition(x, before, options));
    }

    Drawn d;
    std::vector<std::int64_t> heads, positions;
    Heads<const float> before;
    HeadOffsetInputs x;
};

TEST(HeadOffset, EqualsItsDefinition) {
    for (const auto mode : {OffsetMode::add, OffsetMode::replace})
        for (const bool gain : {false, true})
            for (const bool gate : {false, true}) {
                Case(1, 1, 1, {}, {}, gain, gate).expect_definition({mode, 1.7f});
                Case(4, 200, 19, {}, {}, gain, gate).expect_definition({mode, -1.f});
                Case(6, 17, 16, {4, 1, 5}, {}, gain, gate).expect_definition({mode, 1.f});
                Case(5, 11, 33, {0, 3}, {10, 2}, gain, gate).expect_definition({mode, 0.5f});
                Case(3, 100, 8, {2, 2}, {7, 7, 90}, gain, gate).expect_definition({mode, 1.f});  // twice acts twice
            }
}

TEST(HeadOffsetErrors, RefusesWhatDoesNotFit) {
    const Case c(4, 9, 8, {1, 3}, {0, 8}, true, true);
    const Room room = c.room();
    const std::vector<float> before = room.rows();
    const std::vector<std::int64_t> outside = {1, 4}, negative = {-1, 2}, late = {9};
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            HeadOffsetInputs x = c.x;
            HeadOffsetOptions options;
            Heads<float> o = room.view();
            change(x, o, options);
            attenta::head_offset(x, o, options);
        };
    };
    EXPECT_TRUE(
        refuses(call_with([&](auto& x, auto&, auto&) { x.heads = outside; }), {"head_offset", "heads", "4", "3"}));
    EXPECT_TRUE(refuses(call_with([&](auto& x, auto&, auto&) { x.heads = negative; }), {"heads", "-1"}));
    EXPECT_TRUE(refuses(call_with([&](auto& x, auto&, auto&) { x.positions = late; }), {"positions", "9", "8"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.heads = {}; }), {"offset", "2", "4"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.gate.cols = 8; }), {"gate", "8", "9"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.gain.rows = 1; }), {"gain", "1", "2"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.dim = 7; }), {"offset", "8", "7"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& options) { options.strength = NAN; }), {"strength"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto& o, auto&) { o.data = const_cast<float*>(x.gate.data); }),
                        {"o", "overlaps"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.data = nullptr; }), {"o", "null"}));
    EXPECT_EQ(room.rows(), before);
}

}  // namespace
}  // namespace attenta_test
