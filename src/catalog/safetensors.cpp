// The safetensors format: a little-endian uint64 with the length of a JSON header, the header, and the tensors' bytes,
// which its entries {"name": {"dtype", "shape", "data_offsets": [begin, end]}} must cover without gap or overlap.
// Tensors may start at any byte; they are copied into aligned memory.
#include <attenta/catalog.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <fstream>

#include "json_text.hpp"
#include "messages.hpp"
#include "tensor_type.hpp"

ATTENTA_BEGIN

namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr std::int64_t max_header = 100'000'000;  // the format's own limit

std::optional<TensorType> type_named(std::string_view text) {
    for (int i = 0; i < tensor_types; ++i)
        if (name(static_cast<TensorType>(i)) == text) return static_cast<TensorType>(i);
    return std::nullopt;
}

[[noreturn]] void refuse_file(const std::string& path, const std::string& reason) { throw Error(path + ": " + reason); }

/// Where the bytes of a tensor lie in the data part of a file.
struct Extent {
    std::int64_t begin = 0, end = 0;
    Tensor* tensor = nullptr;
};

class Reader {
public:
    explicit Reader(const std::filesystem::path& path) : path_(path.string()) {
        std::error_code error;
        const auto status = std::filesystem::status(path, error);
        if (status.type() == std::filesystem::file_type::not_found) refuse("no such file");
        if (error) refuse("cannot be opened, " + error.message());
        if (!std::filesystem::is_regular_file(status)) refuse("not a regular file");
        size_ = static_cast<std::int64_t>(std::filesystem::file_size(path, error));
        stream_.open(path, std::ios::binary);
        if (error || !stream_) refuse("cannot be opened");
    }

    TensorFile load() {
        const Json header = parse(read_header());
        TensorFile file;
        std::vector<Extent> extents;
        for (const auto& [key, entry] : header.items()) {
            if (key == "__metadata__")
                file.metadata = metadata(entry);
            else
                extents.push_back(describe(key, entry, file.tensors[key]));
        }
        check_cover(extents);
        for (const Extent& e : extents) read(data_begin_ + e.begin, std::as_writable_bytes(std::span(e.tensor->bytes)));
        check_bools(file.tensors);
        return file;
    }

private:
    [[noreturn]] void refuse(const std::string& reason) const { refuse_file(path_, reason); }

    void read(std::int64_t offset, std::span<std::byte> bytes) {
        stream_.seekg(offset);
        stream_.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        if (!stream_) refuse("cannot be read");
    }

    std::string read_header() {
        std::uint64_t length = 0;
        if (size_ < 8)
            refuse("not a safetensors file: it has " + std::to_string(size_) + " bytes, fewer than a header");
        read(0, std::as_writable_bytes(std::span(&length, 1)));
        const std::string claim = "the header claims " + std::to_string(length) + " bytes, ";
        if (length > static_cast<std::uint64_t>(max_header))
            refuse("not a safetensors file: " + claim + "the format allows 100 MB");
        if (length > static_cast<std::uint64_t>(size_ - 8))
            refuse(claim + "the file has " + std::to_string(size_ - 8) + " after its length");
        std::string text(length, ' ');
        read(8, std::as_writable_bytes(std::span(text)));
        data_begin_ = 8 + static_cast<std::int64_t>(length);
        return text;
    }

    Json parse(const std::string& text) const {
        Json header = parse_json(text, "the header", [this](const std::string& reason) { refuse(reason); });
        if (!header.is_object()) refuse("the header is not a JSON object");
        return header;
    }

    /// A null is no metadata, as in the reference implementation.
    std::map<std::string, std::string> metadata(const Json& entry) const {
        std::map<std::string, std::string> result;
        if (entry.is_null()) return result;
        if (!entry.is_object()) refuse("__metadata__ is not an object");
        for (const auto& [key, value] : entry.items()) {
            if (!value.is_string()) refuse("__metadata__ " + in_quotes(key) + " is not a string");
            result[key] = value.get<std::string>();
        }
        return result;
    }

    std::vector<std::int64_t> integers(const std::string& tensor, const Json& entry, const char* key) const {
        const auto list = entry.find(key);
        const std::string what = "tensor " + in_quotes(tensor) + ": " + key;
        if (list == entry.end() || !list->is_array()) refuse(what + " is not a list");
        std::vector<std::int64_t> result;
        for (const Json& n : *list) {
            if (!n.is_number_unsigned()) refuse(what + " holds " + shown_json(n) + ", not a size");
            if (n.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
                refuse(what + " holds a size out of range");
            result.push_back(n.get<std::int64_t>());
        }
        return result;
    }

    /// Checks an entry by itself and gives the tensor its type, shape and (still empty) memory.
    Extent describe(const std::string& key, const Json& entry, Tensor& tensor) const {
        const std::string what = "tensor " + in_quotes(key) + ": ";
        if (!entry.is_object()) refuse(what + "its entry is not an object");
        const auto dtype = entry.find("dtype");
        if (dtype == entry.end() || !dtype->is_string()) refuse(what + "dtype is not a string");
        const auto type = type_named(dtype->get<std::string>());
        if (!type) refuse(what + "unknown dtype " + shown(dtype->get<std::string>()));
        const auto shape = integers(key, entry, "shape"), offsets = integers(key, entry, "data_offsets");
        const auto bytes = byte_count(*type, shape);
        if (!bytes) refuse(what + "the shape " + to_text(shape) + " is too large or ends inside a byte");
        if (offsets.size() != 2) refuse(what + "data_offsets are not a pair");
        const auto [begin, end] = std::pair(offsets[0], offsets[1]);
        if (begin > end || end > size_ - data_begin_)
            refuse(what + "data_offsets " + to_text(offsets) + " leave the " + std::to_string(size_ - data_begin_) +
                   " bytes of data");
        if (end - begin != *bytes)
            refuse(what + std::to_string(end - begin) + " bytes of data, " + std::string(name(*type)) + " " +
                   to_text(shape) + " needs " + std::to_string(*bytes));
        tensor = {*type, shape, {}};
        return {begin, end, &tensor};
    }

    void check_cover(std::vector<Extent>& extents) const {
        std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
            return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
        });
        std::int64_t covered = 0;
        for (const Extent& e : extents) {
            if (e.begin < covered) refuse("tensors overlap at byte " + std::to_string(e.begin) + " of the data");
            if (e.begin > covered)
                refuse("bytes " + std::to_string(covered) + " to " + std::to_string(e.begin) +
                       " of the data belong to no tensor");
            covered = e.end;
        }
        if (covered != size_ - data_begin_)
            refuse("the tensors have " + std::to_string(covered) + " bytes, the file holds " +
                   std::to_string(size_ - data_begin_));
        for (const Extent& e : extents) e.tensor->bytes.resize(static_cast<std::size_t>(e.end - e.begin));
    }

    void check_bools(const Tensors& tensors) const {
        for (const auto& [key, tensor] : tensors)
            if (tensor.type == TensorType::boolean &&
                std::any_of(tensor.bytes.begin(), tensor.bytes.end(), [](std::byte b) { return b > std::byte{1}; }))
                refuse("tensor " + in_quotes(key) + ": a BOOL is neither 0 nor 1");
    }

    std::string path_;
    std::ifstream stream_;
    std::int64_t size_ = 0, data_begin_ = 0;
};

std::string header_of(const TensorFile& file, const std::string& path) {
    Json header = Json::object();
    if (!file.metadata.empty()) header["__metadata__"] = file.metadata;
    std::int64_t offset = 0;
    for (const auto& [key, tensor] : file.tensors) {
        const auto bytes = static_cast<std::int64_t>(tensor.bytes.size());
        if (key == "__metadata__" || !is_sound(tensor))
            refuse_file(path, "tensor " + in_quotes(key) + " cannot be saved: " + std::to_string(bytes) +
                                  " bytes, shape " + to_text(tensor.shape));
        header[key] = {
            {"dtype", name(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + bytes}}};
        offset += bytes;
    }
    try {
        std::string text = header.dump();
        text.append((8 - text.size() % 8) % 8, ' ');
        return text;
    } catch (const Json::exception&) {
        refuse_file(path, "a name or metadata text is not UTF-8");
    }
}

}  // namespace

TensorFile TensorFile::load(const std::filesystem::path& path) { return Reader(path).load(); }

void TensorFile::save(const std::filesystem::path& path) const {
    const std::string header = header_of(*this, path.string());
    const std::uint64_t length = header.size();
    std::ofstream stream(path, std::ios::binary);
    const auto write = [&](const void* data, std::size_t bytes) {
        stream.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
    };
    write(&length, sizeof length);
    write(header.data(), header.size());
    for (const auto& [key, tensor] : tensors) write(tensor.bytes.data(), tensor.bytes.size());
    stream.close();
    if (!stream) refuse_file(path.string(), "cannot be written");
}

ATTENTA_END
