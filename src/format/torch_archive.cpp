#include "format/torch_archive.h"

#include <algorithm>
#include <limits>

#include "base/printable.h"
#include "format/name_index.h"
#include "format/torch_pickle.h"
#include "format/zip.h"

namespace sterna {

namespace {

using Kind = PickleValue::Kind;

constexpr uint8_t kLegacyStart[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
constexpr int64_t kMostElements = int64_t(1) << 48;

// A storage's bytes under its key.
struct Stored {
    std::string_view key;
    Bytes data;
};

// Places a tensor in its storage. Every extent, stride and offset may be anything.
Result<TorchTensor> place(const PickleTensor& source, Bytes storage, std::string_view name, const std::string& path) {
    TorchTensor tensor{std::string(name), source.type, source.shape, source.strides, {}, true};
    auto broken = [&] {
        return fail(ErrorCode::kBadFile, "{}: tensor {}: shape {}, strides {}, offset {} in a storage of {} bytes",
                    path, printable(name), shape_text(source.shape), shape_text(source.strides), source.offset,
                    storage.size());
    };
    const int64_t n = element_count(tensor.shape), width = element_bytes(tensor.type);
    const int64_t available = int64_t(storage.size()) / width;
    if (n < 0 || tensor.shape.size() != tensor.strides.size() || source.offset < 0 || source.offset > available)
        return broken();
    if (n == 0) return tensor;
    int64_t last = source.offset, expected = 1;
    for (size_t i = tensor.shape.size(); i-- > 0;) {
        const int64_t extent = tensor.shape[i], stride = tensor.strides[i];
        if (stride < 0 || (extent > 1 && stride > kMostElements)) return broken();
        if (extent == 1) continue;
        if (extent - 1 > kMostElements || (stride > 0 && extent - 1 > (kMostElements - last) / stride)) return broken();
        last += (extent - 1) * stride;
        tensor.contiguous = tensor.contiguous && stride == expected;
        expected *= extent;
    }
    // A view that repeats its storage (stride 0) may be as large as it likes; a weight is none.
    if (last >= available || n > available) return broken();
    tensor.data = storage.subspan(size_t(source.offset * width), size_t((last - source.offset + 1) * width));
    return tensor;
}

class StateDict {
public:
    StateDict(const PickleReader& pickle, const std::string& path) : pickle_(pickle), path_(path) {}

    // The tensors of the object's dictionary, by name.
    Result<std::vector<std::pair<std::string_view, const PickleTensor*>>> find(uint32_t root) const {
        if (value(root).kind != Kind::kDict)
            return fail(ErrorCode::kUnsupported, "{}: holds no dictionary of tensors", path_);
        for (std::string_view name : {"state_dict", "model_state_dict", "model", "module"}) {
            for (size_t i = 0; i + 1 < value(root).items.size(); i += 2) {
                const PickleValue& key = value(value(root).items[i]);
                if (key.kind != Kind::kText || key.text != name) continue;
                STERNA_TRY(inner, collect(value(root).items[i + 1]));
                if (!inner.empty()) return inner;
            }
        }
        STERNA_TRY(tensors, collect(root));
        if (tensors.empty())
            return fail(ErrorCode::kUnsupported,
                        "{}: no tensors in its dictionary, nor under state_dict, model_state_dict, model or module",
                        path_);
        return tensors;
    }

private:
    const PickleValue& value(uint32_t index) const { return pickle_.values()[index]; }

    Result<std::vector<std::pair<std::string_view, const PickleTensor*>>> collect(uint32_t dict) const {
        std::vector<std::pair<std::string_view, const PickleTensor*>> found;
        if (value(dict).kind != Kind::kDict) return found;
        const std::vector<uint32_t>& items = value(dict).items;
        for (size_t i = 0; i + 1 < items.size(); i += 2) {
            const PickleValue &key = value(items[i]), &tensor = value(items[i + 1]);
            if (tensor.kind != Kind::kTensor) continue;
            if (key.kind != Kind::kText) return fail(ErrorCode::kBadFile, "{}: a tensor without a name", path_);
            if (found.size() >= kMaxTorchTensors)
                return fail(ErrorCode::kLimit, "{}: more than {} tensors", path_, kMaxTorchTensors);
            found.emplace_back(key.text, &pickle_.tensors()[size_t(tensor.integer)]);
        }
        return found;
    }

    const PickleReader& pickle_;
    const std::string& path_;
};

Result<std::vector<TorchTensor>> place_all(const PickleReader& pickle, uint32_t root, const std::vector<Stored>& stored,
                                           const std::string& path) {
    STERNA_TRY(found, StateDict(pickle, path).find(root));
    NameIndex keys;
    if (keys.build(uint32_t(stored.size()), [&](uint32_t i) { return stored[i].key; }))
        return fail(ErrorCode::kBadFile, "{}: a storage occurs twice", path);
    for (std::string_view prefix : {"module.", "_orig_mod."}) {
        if (!std::ranges::all_of(found, [&](const auto& named) { return named.first.starts_with(prefix); })) continue;
        for (auto& named : found) named.first.remove_prefix(prefix.size());
    }
    std::vector<TorchTensor> tensors;
    for (const auto& [name, source] : found) {
        const auto at = keys.find(source->storage.key);
        if (!at)
            return fail(ErrorCode::kBadFile, "{}: tensor {}: its storage '{}' is missing", path, printable(name),
                        printable(source->storage.key));
        STERNA_TRY(tensor, place(*source, stored[*at].data, name, path));
        tensors.push_back(std::move(tensor));
    }
    return tensors;
}

Result<std::vector<TorchTensor>> read_zipped(Bytes file, const std::string& path) {
    STERNA_TRY(entries, read_zip(file, path));
    constexpr std::string_view kPickle = "data.pkl";
    const auto pickle_at = std::ranges::find_if(entries, [&](const ZipEntry& entry) {
        return entry.name.ends_with(kPickle) &&
               (entry.name.size() == kPickle.size() || entry.name[entry.name.size() - kPickle.size() - 1] == '/');
    });
    if (pickle_at == entries.end())
        return fail(ErrorCode::kUnsupported, "{}: a zip archive without data.pkl, not one of torch.save", path);
    const std::string_view folder = pickle_at->name.substr(0, pickle_at->name.size() - kPickle.size());
    std::vector<Stored> stored;
    for (const ZipEntry& entry : entries) {
        if (!entry.name.starts_with(folder)) continue;
        const std::string_view name = entry.name.substr(folder.size());
        const bool is_data = name.starts_with("data/");
        if (entry.compressed && (is_data || name == kPickle))
            return fail(ErrorCode::kUnsupported, "{}: entry {} is compressed, which torch.save never does", path,
                        printable(entry.name));
        if (is_data) stored.push_back({name.substr(5), entry.data});
        constexpr std::string_view kLittle = "little";
        if (name == "byteorder" && !std::ranges::equal(entry.data, kLittle))
            return fail(ErrorCode::kUnsupported, "{}: not written little-endian", path);
    }
    ByteReader reader(pickle_at->data);
    PickleReader pickle(path);
    STERNA_TRY(root, pickle.run(reader));
    return place_all(pickle, root, stored, path);
}

Result<std::vector<TorchTensor>> read_legacy(Bytes file, const std::string& path) {
    ByteReader reader(file);
    PickleReader pickle(path);
    STERNA_CHECK(pickle.run(reader));  // the number by which it was recognised
    STERNA_TRY(version, pickle.run(reader));
    if (pickle.values()[version].kind != Kind::kInteger || pickle.values()[version].integer != 1001)
        return fail(ErrorCode::kUnsupported, "{}: an unknown version of PyTorch's old format", path);
    STERNA_CHECK(pickle.run(reader));
    STERNA_TRY(root, pickle.run(reader));
    STERNA_TRY(keys, pickle.run(reader));
    if (pickle.values()[keys].kind != Kind::kList)
        return fail(ErrorCode::kBadFile, "{}: no list of storages after its pickle", path);
    // The widths of the storages' elements are known from the tensors only.
    NameIndex unique;
    std::vector<std::pair<std::string_view, int>> widths;
    for (const PickleTensor& tensor : pickle.tensors())
        widths.emplace_back(tensor.storage.key, tensor.storage.type ? element_bytes(*tensor.storage.type) : 1);
    std::ranges::sort(widths);
    const auto repeated = std::ranges::unique(widths);
    widths.erase(repeated.begin(), repeated.end());
    if (unique.build(uint32_t(widths.size()), [&](uint32_t i) { return widths[i].first; }))
        return fail(ErrorCode::kBadFile, "{}: a storage of two types", path);
    std::vector<Stored> stored;
    for (uint32_t key : pickle.values()[keys].items) {
        const PickleValue& name = pickle.values()[key];
        const auto known = name.kind == Kind::kText ? unique.find(name.text) : std::nullopt;
        if (!known) return fail(ErrorCode::kBadFile, "{}: a storage of unknown type", path);
        const auto count = reader.read<int64_t>();
        const int width = widths[*known].second;
        if (!count || *count < 0 || uint64_t(*count) > reader.remaining() / uint64_t(width))
            return fail(ErrorCode::kBadFile, "{}: storage '{}' of {} elements ends beyond the file", path,
                        printable(name.text), count.value_or(-1));
        stored.push_back({name.text, *reader.read_bytes(uint64_t(*count) * uint64_t(width))});
    }
    return place_all(pickle, root, stored, path);
}

bool is_legacy(Bytes file) {
    // Protocol 2 throughout; the digits of the number settle it.
    return file.size() > sizeof kLegacyStart && std::ranges::equal(file.first(sizeof kLegacyStart), kLegacyStart);
}

}  // namespace

bool is_torch_file(Bytes file) {
    return is_zip(file) || is_legacy(file);
}

Result<std::vector<TorchTensor>> read_torch_file(Bytes file, const std::string& path) {
    if (is_zip(file)) return read_zipped(file, path);
    if (is_legacy(file)) return read_legacy(file, path);
    return fail(ErrorCode::kBadFile, "{}: not a file of torch.save: neither a zip nor its older format", path);
}

}  // namespace sterna
