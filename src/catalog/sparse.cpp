#include <algorithm>
#include <vector>

#include "sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

std::vector<Mechanism> list_rows(), pattern_rows(), page_rows(), indexer_rows(), content_rows(), retrieval_rows(),
    document_rows();

void give_index(Arguments& args, std::string_view output, const KeyLists& lists, std::int64_t width,
                const SelectedKeys& selected, bool shared) {
    const KeyLists::Shape& shape = lists.shape();
    std::vector<std::int64_t> sizes{shape.heads, shape.queries, width};
    if (shared) sizes.erase(sizes.begin());
    std::int64_t* index = args.output<std::int64_t>(output, std::move(sizes));
    if (!index) return;
    for (std::int64_t n = 0; n < lists.lists(); ++n, index += width) {
        std::fill_n(index, width, -1);
        const std::int64_t position = shape.keys - shape.queries + n % shape.queries;
        const std::int64_t end = selected.end ? selected.end(position, selected.parameter) : shape.keys;
        std::int64_t count = 0;
        for (const KeyRun& run : lists.runs(n)) {
            const std::int64_t first = std::max<std::int64_t>(run.start, selected.begin),
                               last = std::min(std::int64_t{run.start} + run.count, end);
            for (std::int64_t key = first; key < last && count < width; key += selected.unit)
                index[count++] = key / selected.unit;
        }
    }
}

}  // namespace rows

std::span<const Mechanism> sparse_rows() {
    static const std::vector<Mechanism> all = [] {
        std::vector<Mechanism> list;
        for (const auto& part : {rows::list_rows(), rows::pattern_rows(), rows::page_rows(), rows::indexer_rows(),
                                 rows::content_rows(), rows::retrieval_rows(), rows::document_rows()})
            list.insert(list.end(), part.begin(), part.end());
        return list;
    }();
    return all;
}

ATTENTA_END
