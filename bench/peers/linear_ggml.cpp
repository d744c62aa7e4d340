// ggml's recurrences. Each has one output, that of the tokens and behind it the state; the next call reads the state there
// and writes to other memory, so that no state is copied.
#include "bench/linear/implementations.hpp"
#include "bench/peers/ggml_cpu.hpp"
#include "bench/ruler/roofline.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bench {
namespace {

using attenta::Heads;

class Recurrence {
public:
    Recurrence(std::string_view mechanism, const attenta::NamedInputs& in, int threads) : in_(in), cpu_(threads) {
        const bool is_mamba = mechanism == "mamba2" || mechanism == "mamba";
        const Heads<const float> v = in.at(is_mamba ? "x" : "v");
        outputs_ = static_cast<std::size_t>(v.heads * v.tokens * v.dim);
        states_ = static_cast<std::size_t>(v.heads * v.dim * in.at(is_mamba ? "B" : "k").dim);
        out_ = mechanism == "mamba2"  ? ssm_scan()
               : mechanism == "mamba" ? selective_scan()
               : mechanism == "gla"   ? gla()
               : mechanism == "rwkv6" ? rwkv6()
               : mechanism == "rwkv7" ? rwkv7()
                                      : delta();
        graph_ = ggml_new_graph(context_.get());
        ggml_build_forward_expand(graph_, out_);
    }

    const float* operator()(attenta::LinearState& state) {
        place(state.matrix);
        spare_.resize(outputs_ + states_);
        state_->data = state.matrix.data() + outputs_;
        out_->data = spare_.data();
        cpu_.compute(graph_);
        state.matrix.swap(spare_);
        return state.matrix.data();
    }

private:
    /// The state, zeros at first, comes to lie behind as many outputs as this call has.
    void place(std::vector<float>& memory) const {
        if (memory.size() == outputs_ + states_) return;
        std::vector<float> placed(outputs_ + states_);
        if (!memory.empty())
            std::copy(memory.end() - static_cast<std::ptrdiff_t>(states_), memory.end(),
                      placed.end() - static_cast<std::ptrdiff_t>(states_));
        memory.swap(placed);
    }

    ggml_tensor* tensor(const float* data, std::int64_t ne0, std::int64_t ne1 = 1, std::int64_t ne2 = 1,
                        std::int64_t ne3 = 1) {
        ggml_tensor* const t = ggml_new_tensor_4d(context_.get(), GGML_TYPE_F32, ne0, ne1, ne2, ne3);
        t->data = const_cast<float*>(data);  // ggml's tensors are never const
        return t;
    }
    /// Of [token, head, dim]: the innermost dimension comes first.
    ggml_tensor* tensor(Heads<const float> x) { return tensor(x.data, x.dim, x.heads, x.tokens); }
    ggml_tensor* tensor(const char* name) { return tensor(in_.at(name)); }
    /// Of their logarithms.
    ggml_tensor* gates() {
        const Heads<const float> g = in_.at("g");
        gates_.resize(static_cast<std::size_t>(g.heads * g.tokens * g.dim));
        std::transform(g.data, g.data + gates_.size(), gates_.begin(), [](float x) { return std::exp(x); });
        return tensor(Heads<const float>(attenta::nhd(gates_.data(), g.tokens, g.heads, g.dim)));
    }
    ggml_tensor* row_of_states() { return state_ = tensor(nullptr, static_cast<std::int64_t>(states_)); }

    /// It takes logarithms of gates, and scales by itself.
    ggml_tensor* delta() {
        const Heads<const float> v = in_.at("v");
        state_ = tensor(nullptr, v.dim, v.dim, v.heads);
        return ggml_gated_delta_net(context_.get(), tensor("q"), tensor("k"), tensor("v"), tensor("g"), tensor("beta"),
                                    state_, 1);
    }
    ggml_tensor* gla() {
        return ggml_gated_linear_attn(context_.get(), tensor("k"), tensor("v"), tensor("q"), gates(), row_of_states(),
                                      1 / std::sqrt(static_cast<float>(in_.at("k").dim)));
    }
    ggml_tensor* rwkv6() {
        return ggml_rwkv_wkv6(context_.get(), tensor("k"), tensor("v"), tensor("q"), tensor("u"), gates(),
                              row_of_states());
    }
    ggml_tensor* rwkv7() {
        return ggml_rwkv_wkv7(context_.get(), tensor("q"), gates(), tensor("k"), tensor("v"), tensor("a"), tensor("b"),
                              row_of_states());
    }
    ggml_tensor* ssm_scan() {
        const Heads<const float> x = in_.at("x");
        return scan(x.dim, x.heads, tensor(in_.at("A").data, 1, x.heads));
    }
    /// A channel is a head of one number, with a factor for each of its states.
    ggml_tensor* selective_scan() {
        const Heads<const float> A = in_.at("A");
        return scan(1, A.tokens, tensor(A.data, A.dim, A.tokens));
    }
    /// It takes softplus of dt by itself.
    ggml_tensor* scan(std::int64_t width, std::int64_t heads, ggml_tensor* A) {
        const Heads<const float> x = in_.at("x");
        state_ = tensor(nullptr, in_.at("B").dim, width, heads);
        ggml_tensor* const ids = ggml_new_tensor_4d(context_.get(), GGML_TYPE_I32, 1, 1, 1, 1);
        ids->data = &sequence_;
        return ggml_ssm_scan(context_.get(), state_, tensor(x.data, width, heads, x.tokens),
                             tensor(in_.at("dt").data, heads, x.tokens), A, tensor("B"), tensor("C"), ids, 1);
    }

    const attenta::NamedInputs in_;
    ggml::Cpu cpu_;
    std::unique_ptr<ggml_context, ggml::Free> context_ = ggml::context_of_graph();
    std::vector<float> gates_, spare_;
    std::size_t outputs_ = 0, states_ = 0;
    std::int32_t sequence_ = 0;
    ggml_tensor *state_ = nullptr, *out_ = nullptr;
    ggml_cgraph* graph_ = nullptr;
};

RunLinear prepare(std::string_view mechanism, const attenta::NamedInputs& in, int threads) {
    const auto peer = std::make_shared<Recurrence>(mechanism, in, threads);
    return [peer](Heads<float>, attenta::LinearState& state) { return (*peer)(state); };
}

bool supports(std::string_view mechanism) {
    constexpr std::string_view all[] = {"gated_delta_rule", "kda", "gla", "mamba", "mamba2", "rwkv6", "rwkv7"};
    return std::find(std::begin(all), std::end(all), mechanism) != std::end(all);
}

const Added<LinearImplementation> added({"ggml", supports, prepare, widest_isa});

}  // namespace
}  // namespace bench
