#include "format/torch_pickle.h"

#include <algorithm>

#include "base/printable.h"

namespace sterna {

namespace {

// Instructions, by pickletools' names.
enum Op : uint8_t {
    kMark = '(',
    kStop = '.',
    kPop = '0',
    kPopMark = '1',
    kBinFloat = 'G',
    kBinInt = 'J',
    kBinInt1 = 'K',
    kBinInt2 = 'M',
    kNone = 'N',
    kBinPersId = 'Q',
    kReduce = 'R',
    kBinString = 'T',
    kShortBinString = 'U',
    kBinUnicode = 'X',
    kAppend = 'a',
    kBuild = 'b',
    kGlobal = 'c',
    kAppends = 'e',
    kBinGet = 'h',
    kLongBinGet = 'j',
    kEmptyList = ']',
    kBinPut = 'q',
    kLongBinPut = 'r',
    kSetItem = 's',
    kTuple = 't',
    kEmptyTuple = ')',
    kSetItems = 'u',
    kEmptyDict = '}',
    kProto = 0x80,
    kTuple1 = 0x85,
    kTuple2 = 0x86,
    kTuple3 = 0x87,
    kNewTrue = 0x88,
    kNewFalse = 0x89,
    kLong1 = 0x8a,
    kShortBinUnicode = 0x8c,
    kBinUnicode8 = 0x8d,
    kStackGlobal = 0x93,
    kMemoize = 0x94,
    kFrame = 0x95,
};

enum class Name : uint8_t {
    kOrderedDict,
    kRebuildTensor,
    kRebuildTensorV3,
    kRebuildParameter,
    kStorage,
    kUntypedStorage,
    kType,
    kOpaque,
};

struct Global {
    std::string_view module, name;
    Name meaning;
    ElementType type = ElementType::kF32;
};

// All that a pickle may refer to.
constexpr Global kGlobals[] = {
    {"collections", "OrderedDict", Name::kOrderedDict},
    {"torch._utils", "_rebuild_tensor_v2", Name::kRebuildTensor},
    {"torch._utils", "_rebuild_tensor_v3", Name::kRebuildTensorV3},
    {"torch._utils", "_rebuild_parameter", Name::kRebuildParameter},
    {"torch", "DoubleStorage", Name::kStorage, ElementType::kF64},
    {"torch", "FloatStorage", Name::kStorage, ElementType::kF32},
    {"torch", "HalfStorage", Name::kStorage, ElementType::kF16},
    {"torch", "BFloat16Storage", Name::kStorage, ElementType::kBF16},
    {"torch", "LongStorage", Name::kStorage, ElementType::kI64},
    {"torch", "IntStorage", Name::kStorage, ElementType::kI32},
    {"torch", "ShortStorage", Name::kStorage, ElementType::kI16},
    {"torch", "CharStorage", Name::kStorage, ElementType::kI8},
    {"torch", "ByteStorage", Name::kStorage, ElementType::kU8},
    {"torch", "BoolStorage", Name::kStorage, ElementType::kBool},
    {"torch", "UntypedStorage", Name::kUntypedStorage},
    {"torch.storage", "UntypedStorage", Name::kUntypedStorage},
    {"torch", "float64", Name::kType, ElementType::kF64},
    {"torch", "float32", Name::kType, ElementType::kF32},
    {"torch", "float16", Name::kType, ElementType::kF16},
    {"torch", "bfloat16", Name::kType, ElementType::kBF16},
    {"torch", "float8_e4m3fn", Name::kType, ElementType::kF8E4M3},
    {"torch", "float8_e5m2", Name::kType, ElementType::kF8E5M2},
    {"torch", "float8_e8m0fnu", Name::kType, ElementType::kF8E8M0},
    {"torch", "int64", Name::kType, ElementType::kI64},
    {"torch", "int32", Name::kType, ElementType::kI32},
    {"torch", "int16", Name::kType, ElementType::kI16},
    {"torch", "int8", Name::kType, ElementType::kI8},
    {"torch", "uint64", Name::kType, ElementType::kU64},
    {"torch", "uint32", Name::kType, ElementType::kU32},
    {"torch", "uint16", Name::kType, ElementType::kU16},
    {"torch", "uint8", Name::kType, ElementType::kU8},
    {"torch", "bool", Name::kType, ElementType::kBool},
    {"torch", "Size", Name::kOpaque},
    {"torch", "device", Name::kOpaque},
};

constexpr size_t kMostArguments = 16;

std::optional<std::string_view> read_line(ByteReader& reader) {
    constexpr size_t kMostLine = 256;
    ByteReader ahead = reader;
    size_t n = 0;
    for (;; ++n) {
        const auto c = ahead.read<uint8_t>();
        if (!c || n > kMostLine) return std::nullopt;
        if (*c == '\n') break;
    }
    const auto line = reader.read_text(n);
    reader.skip(1);
    return line;
}

template <typename T>
std::optional<int64_t> read_integer(ByteReader& reader) {
    const auto value = reader.read<T>();
    if (!value) return std::nullopt;
    return int64_t(*value);
}

template <typename T>
std::optional<std::string_view> read_counted(ByteReader& reader) {
    const auto size = reader.read<T>();
    if (!size) return std::nullopt;
    return reader.read_text(uint64_t(*size));
}

}  // namespace

std::unexpected<Error> PickleReader::broken(std::string_view what) const {
    return fail(ErrorCode::kBadFile, "{}: pickle instruction at byte {}: {}", path_, at_, what);
}

Status PickleReader::push(PickleValue value) {
    if (values_.size() >= kMaxPickleValues)
        return fail(ErrorCode::kLimit, "{}: a pickle of more than {} values", path_, kMaxPickleValues);
    values_.push_back(std::move(value));
    return push_index(uint32_t(values_.size() - 1));
}

Status PickleReader::push_index(uint32_t index) {
    stack_.push_back(index);
    return {};
}

Status PickleReader::push_text(std::optional<std::string_view> text) {
    if (!text) return broken("a string beyond the end");
    return push({.kind = Kind::kText, .integer = 0, .text = *text, .items = {}});
}

Status PickleReader::push_integer(std::optional<int64_t> value) {
    if (!value) return broken("a number beyond the end");
    return push({.kind = Kind::kInteger, .integer = *value, .text = {}, .items = {}});
}

Result<uint32_t> PickleReader::pop() {
    if (stack_.empty() || values_[stack_.back()].kind == Kind::kMark) return broken("an empty stack");
    const uint32_t index = stack_.back();
    stack_.pop_back();
    return index;
}

Result<std::vector<uint32_t>> PickleReader::pop_to_mark() {
    size_t at = stack_.size();
    while (at > 0 && values_[stack_[at - 1]].kind != Kind::kMark) --at;
    if (at == 0) return broken("no mark on the stack");
    std::vector<uint32_t> items(stack_.begin() + ptrdiff_t(at), stack_.end());
    stack_.resize(at - 1);
    return items;
}

Result<PickleValue*> PickleReader::top(Kind wanted, const char* what) {
    if (stack_.empty() || values_[stack_.back()].kind != wanted) return broken(what);
    return &values_[stack_.back()];
}

Status PickleReader::put(std::optional<uint32_t> slot) {
    if (!slot || *slot >= kMaxPickleValues) return broken("a memo slot out of range");
    if (stack_.empty() || values_[stack_.back()].kind == Kind::kMark) return broken("an empty stack");
    if (memo_.size() <= *slot) memo_.resize(*slot + 1);
    memo_[*slot] = stack_.back();
    return {};
}

Status PickleReader::get(std::optional<uint32_t> slot) {
    if (!slot || *slot >= memo_.size() || !memo_[*slot]) return broken("an empty memo slot");
    return push_index(*memo_[*slot]);
}

Status PickleReader::push_global(std::string_view module, std::string_view name) {
    for (size_t i = 0; i < std::size(kGlobals); ++i) {
        if (kGlobals[i].module == module && kGlobals[i].name == name)
            return push({.kind = Kind::kGlobal, .integer = int64_t(i), .text = {}, .items = {}});
    }
    return fail(ErrorCode::kUnsupported, "{}: the pickle wants to call {}.{}, which no state dict needs: refused",
                path_, printable(module), printable(name));
}

Result<std::vector<int64_t>> PickleReader::integers_of(uint32_t index) const {
    const PickleValue& value = values_[index];
    if (value.kind != Kind::kTuple && value.kind != Kind::kList) return broken("a shape that is no tuple");
    if (value.items.size() > kMaxPickleDimensions) return broken("a tensor of too many dimensions");
    std::vector<int64_t> integers;
    for (uint32_t item : value.items) {
        if (values_[item].kind != Kind::kInteger) return broken("a shape that holds no integers");
        integers.push_back(values_[item].integer);
    }
    return integers;
}

// ("storage", type, key, location, number of elements[, view])
Status PickleReader::persistent() {
    STERNA_TRY(index, pop());
    const PickleValue& id = values_[index];
    if (id.kind != Kind::kTuple || id.items.size() < 5) return broken("a storage that is not described by a tuple");
    const PickleValue &what = values_[id.items[0]], &type = values_[id.items[1]], &key = values_[id.items[2]],
                      &count = values_[id.items[4]];
    if (what.kind != Kind::kText || what.text != "storage" || type.kind != Kind::kGlobal || key.kind != Kind::kText ||
        count.kind != Kind::kInteger || count.integer < 0)
        return broken("a storage of an unknown description");
    if (id.items.size() > 5 && values_[id.items[5]].kind != Kind::kNone) return broken("a view of a storage");
    const Global& global = kGlobals[size_t(type.integer)];
    if (global.meaning != Name::kStorage && global.meaning != Name::kUntypedStorage)
        return broken("a storage of an unknown type");
    storages_.push_back(
        {key.text, global.meaning == Name::kStorage ? std::optional(global.type) : std::nullopt, count.integer});
    return push({.kind = Kind::kStorage, .integer = int64_t(storages_.size() - 1), .text = {}, .items = {}});
}

// v2: (storage, offset, shape, strides, requires_grad, hooks[, metadata]); v3: (..., hooks, type[, metadata])
Status PickleReader::rebuild_tensor(const std::vector<uint32_t>& arguments, bool with_type) {
    if (arguments.size() < (with_type ? 7u : 4u)) return broken("too few arguments for a tensor");
    const PickleValue &storage = values_[arguments[0]], &offset = values_[arguments[1]];
    if (storage.kind != Kind::kStorage || offset.kind != Kind::kInteger)
        return broken("a tensor without storage or offset");
    PickleTensor tensor;
    tensor.storage = storages_[size_t(storage.integer)];
    tensor.offset = offset.integer;
    STERNA_TRY(shape, integers_of(arguments[2]));
    STERNA_TRY(strides, integers_of(arguments[3]));
    tensor.shape = std::move(shape);
    tensor.strides = std::move(strides);
    if (with_type) {
        const PickleValue& type = values_[arguments[6]];
        if (type.kind != Kind::kGlobal || kGlobals[size_t(type.integer)].meaning != Name::kType)
            return broken("a tensor of an unknown type");
        tensor.type = kGlobals[size_t(type.integer)].type;
    } else {
        if (!tensor.storage.type) return broken("a tensor without a type");
        tensor.type = *tensor.storage.type;
    }
    tensors_.push_back(std::move(tensor));
    return push({.kind = Kind::kTensor, .integer = int64_t(tensors_.size() - 1), .text = {}, .items = {}});
}

Status PickleReader::reduce() {
    STERNA_TRY(arguments_at, pop());
    STERNA_TRY(function_at, pop());
    if (values_[function_at].kind != Kind::kGlobal || values_[arguments_at].kind != Kind::kTuple)
        return broken("a call of something that is no name");
    // A memoized tuple can be used again and again: only small ones are copied.
    if (values_[arguments_at].items.size() > kMostArguments) return broken("a call of too many arguments");
    const std::vector<uint32_t> arguments = values_[arguments_at].items;
    switch (kGlobals[size_t(values_[function_at].integer)].meaning) {
        case Name::kOrderedDict:
            if (!arguments.empty()) return broken("a dictionary of arguments");
            return push({.kind = Kind::kDict, .integer = 0, .text = {}, .items = {}});
        case Name::kRebuildTensor:
            return rebuild_tensor(arguments, false);
        case Name::kRebuildTensorV3:
            return rebuild_tensor(arguments, true);
        case Name::kRebuildParameter:
            if (arguments.empty() || values_[arguments[0]].kind != Kind::kTensor)
                return broken("a parameter that is no tensor");
            return push_index(arguments[0]);
        case Name::kOpaque:
            return push({.kind = Kind::kOpaque, .integer = 0, .text = {}, .items = {}});
        default:
            return broken("a call of a type");
    }
}

// Instructions that push a value made of their own bytes.
Status PickleReader::step_literal(uint8_t op, ByteReader& reader, bool& known) {
    switch (op) {
        case kNone:
            return push({});
        case kMark:
            return push({.kind = Kind::kMark, .integer = 0, .text = {}, .items = {}});
        case kNewTrue:
            return push({.kind = Kind::kBool, .integer = 1, .text = {}, .items = {}});
        case kNewFalse:
            return push({.kind = Kind::kBool, .integer = 0, .text = {}, .items = {}});
        case kBinInt:
            return push_integer(read_integer<int32_t>(reader));
        case kBinInt1:
            return push_integer(read_integer<uint8_t>(reader));
        case kBinInt2:
            return push_integer(read_integer<uint16_t>(reader));
        case kBinFloat:
            if (!reader.skip(8)) return broken("a number beyond the end");
            return push({.kind = Kind::kFloat, .integer = 0, .text = {}, .items = {}});
        case kLong1: {
            const auto digits = read_counted<uint8_t>(reader);
            if (!digits) return broken("a number beyond the end");
            if (digits->size() > 8) return push({.kind = Kind::kOpaque, .integer = 0, .text = *digits, .items = {}});
            uint64_t value = digits->empty() || uint8_t(digits->back()) < 128 ? 0 : ~uint64_t(0);
            for (size_t i = digits->size(); i-- > 0;) value = value << 8 | uint8_t((*digits)[i]);
            return push_integer(int64_t(value));
        }
        case kBinUnicode:
            return push_text(read_counted<uint32_t>(reader));
        case kShortBinUnicode:
            return push_text(read_counted<uint8_t>(reader));
        case kBinUnicode8:
            return push_text(read_counted<uint64_t>(reader));
        case kShortBinString:
            return push_text(read_counted<uint8_t>(reader));
        case kBinString:
            return push_text(read_counted<uint32_t>(reader));
        case kEmptyDict:
            return push({.kind = Kind::kDict, .integer = 0, .text = {}, .items = {}});
        case kEmptyList:
            return push({.kind = Kind::kList, .integer = 0, .text = {}, .items = {}});
        case kEmptyTuple:
            return push({.kind = Kind::kTuple, .integer = 0, .text = {}, .items = {}});
        case kGlobal: {
            const auto module = read_line(reader);
            const auto name = read_line(reader);
            if (!module || !name) return broken("a name beyond the end");
            return push_global(*module, *name);
        }
        default:
            known = false;
            return {};
    }
}

Status PickleReader::step(uint8_t op, ByteReader& reader) {
    bool known = true;
    STERNA_CHECK(step_literal(op, reader, known));
    if (known) return {};
    auto tuple = [&](std::vector<uint32_t> items) {
        return push({.kind = Kind::kTuple, .integer = 0, .text = {}, .items = std::move(items)});
    };
    switch (op) {
        case kProto:
        case kFrame:
            if (!reader.skip(op == kProto ? 1 : 8)) return broken("beyond the end");
            return {};
        case kPop:
            STERNA_CHECK(pop());
            return {};
        case kPopMark:
            STERNA_CHECK(pop_to_mark());
            return {};
        case kTuple: {
            STERNA_TRY(items, pop_to_mark());
            return tuple(std::move(items));
        }
        case kTuple1:
        case kTuple2:
        case kTuple3: {
            std::vector<uint32_t> items(size_t(op - kTuple1) + 1);
            for (size_t i = items.size(); i-- > 0;) {
                STERNA_TRY(item, pop());
                items[i] = item;
            }
            return tuple(std::move(items));
        }
        case kAppend:
        case kSetItem: {
            std::vector<uint32_t> items(op == kAppend ? 1 : 2);
            for (size_t i = items.size(); i-- > 0;) {
                STERNA_TRY(item, pop());
                items[i] = item;
            }
            STERNA_TRY(target, top(op == kAppend ? Kind::kList : Kind::kDict, "an addition to something else"));
            target->items.insert(target->items.end(), items.begin(), items.end());
            return {};
        }
        case kAppends:
        case kSetItems: {
            STERNA_TRY(items, pop_to_mark());
            STERNA_TRY(target, top(op == kAppends ? Kind::kList : Kind::kDict, "additions to something else"));
            if (op == kSetItems && items.size() % 2 != 0) return broken("a key without a value");
            target->items.insert(target->items.end(), items.begin(), items.end());
            return {};
        }
        case kStackGlobal: {
            STERNA_TRY(name, pop());
            STERNA_TRY(module, pop());
            if (values_[name].kind != Kind::kText || values_[module].kind != Kind::kText)
                return broken("a name that is no string");
            return push_global(values_[module].text, values_[name].text);
        }
        case kReduce:
            return reduce();
        case kBuild:
            // The attributes of a dictionary (a module's _metadata) say nothing about its tensors.
            STERNA_CHECK(pop());
            STERNA_CHECK(top(Kind::kDict, "attributes of something else"));
            return {};
        case kBinPersId:
            return persistent();
        case kBinPut:
            return put(reader.read<uint8_t>());
        case kLongBinPut:
            return put(reader.read<uint32_t>());
        case kMemoize:
            return put(uint32_t(std::min(memo_.size(), kMaxPickleValues)));
        case kBinGet:
            return get(reader.read<uint8_t>());
        case kLongBinGet:
            return get(reader.read<uint32_t>());
        default:
            return fail(ErrorCode::kUnsupported,
                        "{}: pickle instruction 0x{:02x} at byte {}, which no state dict needs", path_, op, at_);
    }
}

Result<uint32_t> PickleReader::run(ByteReader& reader) {
    stack_.clear();
    memo_.clear();
    const size_t begin = reader.position();
    for (;;) {
        at_ = reader.position();
        if (at_ - begin > kMaxPickleBytes)
            return fail(ErrorCode::kLimit, "{}: a pickle of more than {} bytes", path_, kMaxPickleBytes);
        const auto op = reader.read<uint8_t>();
        if (!op) return broken("the pickle ends without a stop");
        if (*op == kStop) return pop();
        STERNA_CHECK(step(*op, reader));
    }
}

}  // namespace sterna
