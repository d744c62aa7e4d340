#include "bench/analysis/observers.hpp"

#include "bench/normals.hpp"
#include "bench/ruler/registration.hpp"
#include "bench/ruler/sampling.hpp"

#include <attenta/softmax.hpp>
#include <attenta/softmax/weights.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bench {
namespace {

using attenta::Heads, attenta::KvView, attenta::edits::edit;

constexpr std::int64_t Hq = 8, Hkv = 2, D = 128, T = 4096, last = 32, distances = 512;
const attenta::SoftmaxOptions causal{.causal = true};

struct Tensors {
    Normals q{Hq, T, D}, k{Hkv, T, D}, v{Hkv, T, D}, o{Hq, T, D};
    std::vector<attenta::RowStatistics> rows = std::vector<attenta::RowStatistics>(Hq * T);
    std::vector<float> read = std::vector<float>(static_cast<std::size_t>(Hq * T * distances));

    KvView kv() const { return KvView::of(k.view(), v.view()); }
    void attend() { attenta::softmax_attention(q.view(), kv(), o.view(), causal); }

    /// Outputs and what the edit sums up, [Hq, `numbers`].
    template <class Edit>
    void attend_and_sum(const Edit& sums, std::int64_t numbers) {
        std::fill_n(read.begin(), Hq * numbers, 0.f);
        attenta::softmax_statistics(q.view(), kv(), rows.data(), causal);
        attenta::softmax_weights(q.view(), kv(), rows.data(), {edit(sums)}, o.view(), causal);
    }
    void attend_and_keep_last_rows() {
        attend();
        const Heads<const float> newest = q.view().slice(T - last, last);
        attenta::softmax_statistics(newest, kv(), rows.data(), causal);
        attenta::softmax_weights(newest, kv(), rows.data(),
                                 {edit(attenta::edits::LastRows{read.data(), T, last, last})}, {}, causal);
    }
};

template <class Read>
void add(const char* what, const Read& reading) {
    register_benchmark(std::string("analysis/attenta/") + what + "/prefill/Hq:8/Hkv:2/D:128/Tq:4096/Tk:4096/threads:1",
                       [reading](benchmark::State& state) {
                           Tensors x;
                           std::array<Sample, 2> both;
                           for (auto _ : state)
                               both =
                                   sample_in_turn([&](std::size_t) { reading(x); }, [&](std::size_t) { x.attend(); });
                           hand_over(both[0], state);
                           state.counters["attention_ratio"] = both[0].seconds / both[1].seconds;
                       });
}

}  // namespace

void register_observers() {
    add("column_sums", [](Tensors& x) { x.attend_and_sum(attenta::edits::ColumnSums{x.read.data(), T}, T); });
    add("distance_sums", [](Tensors& x) {
        x.attend_and_sum(attenta::edits::DistanceSums{x.read.data(), T, 1 - distances, distances}, T * distances);
    });
    add("last_rows", [](Tensors& x) { x.attend_and_keep_last_rows(); });
}

}  // namespace bench
