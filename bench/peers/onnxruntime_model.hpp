// A model of one operator on onnxruntime's CPU.
#pragma once

#include "bench/peers/onnx_model.hpp"
#include "bench/peers/onnxruntime_api.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace bench::ort {

using Shape = std::vector<std::int64_t>;

inline const Api& api() {
    static const Api* const functions = OrtGetApiBase()->GetApi(api_version);
    return *functions;
}

inline void check(Status* status) {
    if (!status) return;
    const std::string message = api().GetErrorMessage(status);
    api().ReleaseStatus(status);
    throw std::runtime_error("onnxruntime: " + message);
}

struct Release {
    void operator()(Env* p) const { api().ReleaseEnv(p); }
    void operator()(MemoryInfo* p) const { api().ReleaseMemoryInfo(p); }
    void operator()(Session* p) const { api().ReleaseSession(p); }
    void operator()(SessionOptions* p) const { api().ReleaseSessionOptions(p); }
    void operator()(Value* p) const { api().ReleaseValue(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Release>;

/// What a function of the API gives through its last argument.
template <class T, class... Parameters, class... Arguments>
Owned<T> create(Status* (*function)(Parameters...), Arguments... arguments) {
    T* made = nullptr;
    check(function(arguments..., &made));
    return Owned<T>(made);
}

/// A model of one node and the tensors of its next run.
class Model {
public:
    Model(onnx::Node node, int threads) : node_(std::move(node)) {
        const std::string model = onnx::model(node_);
        std::erase_if(node_.inputs, [](const onnx::Tensor& t) { return t.name.empty(); });
        const auto options = create<SessionOptions>(api().CreateSessionOptions);
        check(api().SetIntraOpNumThreads(options.get(), threads));
        session_ = create<Session>(api().CreateSessionFromArray, env_.get(), model.data(), model.size(), options.get());
        for (const onnx::Tensor& t : node_.inputs) input_names_.push_back(t.name.c_str());
        for (const onnx::Tensor& t : node_.outputs) output_names_.push_back(t.name.c_str());
    }

    /// Inputs, those with a name, and outputs are given in the node's order.
    void input(const void* data, const Shape& shape) {
        inputs_.push_back(tensor(node_.inputs[inputs_.size()], const_cast<void*>(data), shape));
    }
    void output(void* data, const Shape& shape) {
        outputs_.push_back(tensor(node_.outputs[outputs_.size()], data, shape));
    }
    void run() {
        std::vector<Value*> inputs, outputs;
        for (const auto& value : inputs_) inputs.push_back(value.get());
        for (const auto& value : outputs_) outputs.push_back(value.get());
        check(api().Run(session_.get(), nullptr, input_names_.data(), inputs.data(), inputs.size(),
                        output_names_.data(), outputs.size(), outputs.data()));
        inputs_.clear();
        outputs_.clear();
    }

private:
    Owned<Value> tensor(const onnx::Tensor& t, void* data, const Shape& shape) const {
        std::size_t bytes = onnx::size_of(t.type);
        for (const std::int64_t n : shape) bytes *= static_cast<std::size_t>(n);
        return create<Value>(api().CreateTensorWithDataAsOrtValue, memory_.get(), data, bytes, shape.data(),
                             shape.size(), static_cast<int>(t.type));
    }

    onnx::Node node_;
    Owned<Env> env_ = create<Env>(api().CreateEnv, warnings, "attenta-bench");
    Owned<MemoryInfo> memory_ = create<MemoryInfo>(api().CreateCpuMemoryInfo, device_allocator, cpu_memory);
    Owned<Session> session_;
    std::vector<const char*> input_names_, output_names_;
    std::vector<Owned<Value>> inputs_, outputs_;
};

}  // namespace bench::ort
