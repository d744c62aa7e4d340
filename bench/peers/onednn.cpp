// oneDNN 2: its primitives matmul, softmax, matmul.
#include "bench/peers/blocks.hpp"
#include "bench/ruler/roofline.hpp"
#include "bench/softmax/implementations.hpp"

#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>

#include <map>
#include <memory>
#include <utility>

namespace bench {
namespace {

using dnnl::memory;

memory::desc matrix(std::int64_t rows, std::int64_t columns, std::int64_t row_stride, std::int64_t column_stride = 1) {
    return {memory::dims{rows, columns}, memory::data_type::f32, memory::dims{row_stride, column_stride}};
}

class OneDnn final : public Products {
public:
    void scores(std::int64_t rows, std::int64_t keys, const float* q, HeadRows k, float* s) override {
        const auto make = [&] {
            return matmul(matrix(rows, k.dim, k.dim), matrix(k.dim, keys, 1, k.stride), matrix(rows, keys, keys));
        };
        multiply(cached(scores_, rows, keys, make), q, k.data, s);
    }

    void softmax(std::int64_t rows, std::int64_t keys, float* s) override {
        const auto make = [&] {
            const dnnl::softmax_forward::desc desc(dnnl::prop_kind::forward_inference, matrix(rows, keys, keys), 1);
            return dnnl::softmax_forward::primitive_desc(desc, engine_);
        };
        const auto& p = cached(softmax_, rows, keys, make);
        const memory in_place(p.desc.dst_desc(), engine_, s);
        p.primitive.execute(stream_, {{DNNL_ARG_SRC, in_place}, {DNNL_ARG_DST, in_place}});
    }

    void values(std::int64_t rows, std::int64_t keys, const float* s, HeadRows v, float* o) override {
        const auto make = [&] {
            return matmul(matrix(rows, keys, keys), matrix(keys, v.dim, v.stride), matrix(rows, v.dim, v.dim));
        };
        multiply(cached(values_, rows, keys, make), s, v.data, o);
    }

private:
    template <class P>
    struct Prepared {
        typename P::primitive_desc desc;
        P primitive;
    };
    /// Primitives by rows and keys: all else of a problem is the same from block to block.
    template <class P>
    using Cache = std::map<std::pair<std::int64_t, std::int64_t>, Prepared<P>>;

    template <class P, class Make>
    static const Prepared<P>& cached(Cache<P>& cache, std::int64_t rows, std::int64_t keys, const Make& make) {
        auto found = cache.find({rows, keys});
        if (found == cache.end()) {
            const auto desc = make();
            found = cache.emplace(std::pair(rows, keys), Prepared<P>{desc, P(desc)}).first;
        }
        return found->second;
    }

    dnnl::matmul::primitive_desc matmul(const memory::desc& a, const memory::desc& b, const memory::desc& c) const {
        return {dnnl::matmul::desc(a, b, c), engine_};
    }

    void multiply(const Prepared<dnnl::matmul>& p, const float* a, const float* b, float* c) {
        const auto at = [&](const memory::desc& desc, const float* data) {
            return memory(desc, engine_, const_cast<float*>(data));  // what is only read has no type of its own there
        };
        p.primitive.execute(stream_, {{DNNL_ARG_SRC, at(p.desc.src_desc(), a)},
                                      {DNNL_ARG_WEIGHTS, at(p.desc.weights_desc(), b)},
                                      {DNNL_ARG_DST, at(p.desc.dst_desc(), c)}});
    }

    dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream_{engine_};
    Cache<dnnl::matmul> scores_, values_;
    Cache<dnnl::softmax_forward> softmax_;
};

Run prepare(const Problem& problem) {
    omp_set_num_threads(problem.shape().threads);
    constexpr std::int64_t rows = 256;  // fastest of 64 to 1024 on a Turin-like core
    return [attend = std::make_shared<BlockwiseAttention>(problem, rows),
            products = std::make_shared<OneDnn>()](std::size_t copy) { (*attend)(copy, *products); };
}

std::string version() {
    const dnnl_version_t* v = dnnl::version();
    return "oneDNN " + std::to_string(v->major) + '.' + std::to_string(v->minor) + '.' + std::to_string(v->patch);
}

const Added<Implementation> onednn({"onednn", is_dense_f32, prepare, widest_isa, version});

}  // namespace
}  // namespace bench
