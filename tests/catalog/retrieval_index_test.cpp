// The golden cases of `retrieval_index` through the library: what the definition asks of any index, be its graph another one.
#include <attenta/catalog.hpp>
#include <attenta/sparse/retrieval/retrieval_index.hpp>

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "support/golden.hpp"

namespace attenta_test {
namespace {

using attenta::RetrievalIndex, attenta::TensorFile;

/// Mean recall within 0.05 of the reference's, at most 1.5 of its share of keys whose scores are taken.
TEST(RetrievalIndexGolden, RecallAndCostAreWithinTheBounds) {
    for (const auto& path : golden_cases("sparse", "retrieval_index")) {
        const TensorFile file = TensorFile::load(path);
        const auto p = nlohmann::json::parse(file.metadata.at("params"));
        const auto matrix = [&](const char* name) {
            const attenta::Tensor& t = file.tensors.at(name);
            return attenta::hnd(t.as<float>().data(), 1, t.shape[0], t.shape[1]);
        };
        const auto reference = [&](const char* name) { return double{file.tensors.at(name).to_float()[0]}; };
        const auto keys = matrix("in.keys"), train = matrix("in.train_queries"), q = matrix("in.queries");
        const std::int64_t top_k = p.at("top_k");
        for (const attenta::Dtype storage : {attenta::Dtype::f32, attenta::Dtype::f16}) {
            const RetrievalIndex index({.kv = attenta::KvView::of(keys, keys), .end = keys.tokens},
                                       {train.data, 1, train.tokens, train.dim},
                                       {p.at("degree"), p.at("query_neighbours"), p.at("build_queue"), storage});
            std::vector<std::int64_t> found(static_cast<std::size_t>(q.tokens * top_k)),
                scanned(static_cast<std::size_t>(q.tokens));
            index.search(q, {top_k, p.at("search_queue")}, found.data(), attenta::default_context(), scanned.data());
            double hits = 0, scores = 0;
            const auto exact = file.tensors.at("out.index").as<std::int64_t>();
            for (std::int64_t n = 0; n < q.tokens; ++n) {
                const auto begin = found.begin() + n * top_k;
                for (std::int64_t i = 0; i < top_k; ++i)
                    hits += static_cast<double>(
                        std::count(begin, begin + top_k, exact[static_cast<std::size_t>(n * top_k + i)]));
                scores += static_cast<double>(scanned[static_cast<std::size_t>(n)]);
            }
            const auto queries = static_cast<double>(q.tokens);
            EXPECT_GE(hits / queries / static_cast<double>(top_k), reference("out.recall_reference") - 0.05) << path;
            EXPECT_LE(scores / queries / static_cast<double>(keys.tokens), 1.5 * reference("out.scanned_reference"))
                << path;
        }
    }
}

}  // namespace
}  // namespace attenta_test
