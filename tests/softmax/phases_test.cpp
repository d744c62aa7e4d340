// A context that is observed learns where its plans spend their time; results do not change.
#include <attenta/core/context.hpp>
#include <attenta/softmax/softmax.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace {

using attenta::Phase;

struct Call {
    Call(std::int64_t queries, std::int64_t keys)
        : q(static_cast<std::size_t>(queries * 2 * 32), 0.25f),
          kv(static_cast<std::size_t>(keys * 2 * 32), 0.5f),
          o(q.size()),
          queries_(queries),
          keys_(keys) {}

    std::vector<float> run(attenta::Context& context) {
        attenta::softmax_attention(attenta::nhd<const float>(q.data(), queries_, 2, 32),
                                   attenta::nhd<const float>(kv.data(), keys_, 2, 32),
                                   attenta::nhd<const float>(kv.data(), keys_, 2, 32),
                                   attenta::nhd(o.data(), queries_, 2, 32), {}, nullptr, context);
        return o;
    }

    std::vector<float> q, kv, o;
    std::int64_t queries_, keys_;
};

TEST(Phases, EveryPhaseOfBothLoopsIsSeen) {
    for (const std::int64_t queries : {1, 100}) {
        attenta::ThreadPool pool(2);
        attenta::Context context(pool);
        Call call(queries, 5000);
        const std::vector<float> before = call.run(context);
        attenta::PhaseTimes times;
        context.observe(&times);
        EXPECT_EQ(call.run(context), before);
        for (const Phase p : attenta::PhaseTimes::phases)
            EXPECT_GT(times.seconds(p), 0) << "phase " << static_cast<int>(p) << ", " << queries << " queries";
    }
}

TEST(Phases, NothingIsAddedWithoutAnObserver) {
    attenta::Context context;
    Call call(3, 70);
    attenta::PhaseTimes times;
    context.observe(&times);
    context.observe(nullptr);
    call.run(context);
    for (const Phase p : attenta::PhaseTimes::phases) EXPECT_EQ(times.seconds(p), 0);
}

}  // namespace
