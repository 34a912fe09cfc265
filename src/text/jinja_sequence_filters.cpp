#include <algorithm>
#include <array>

#include "text/jinja_filters.h"
#include "text/jinja_text.h"

namespace sterna::jinja {

namespace {

using Found = std::array<const Value*, 4>;

bool all_digits(std::string_view text) {
    return !text.empty() && text.size() < 10 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Follows "address.city" or an index from an item; `fallback` stands for every undefined part.
Value follow(Interpreter& in, Value item, const Value* path, const Value* fallback = nullptr) {
    if (is_none(path)) return item;
    auto step = [&](const Value& key) {
        item = in.item(item, key);
        if (item.is(Kind::kUndefined) && !is_none(fallback)) item = *fallback;
    };
    if (!path->is(Kind::kString)) {
        step(*path);
        return item;
    }
    std::string_view rest = path->text();
    while (!in.failed()) {
        const size_t dot = rest.find('.');
        const std::string part(rest.substr(0, dot));
        int64_t index = 0;
        if (all_digits(part) && parse_int(part, 10, index)) {
            step(Value::integer(index));
        } else {
            step(in.make_string(part));
        }
        if (dot == std::string_view::npos) break;
        rest.remove_prefix(dot + 1);
    }
    return item;
}

Value fold_case(Interpreter& in, const Value& value, bool case_sensitive) {
    if (case_sensitive || !value.is(Kind::kString)) return value;
    return in.make_string(to_lower(value.text()));
}

bool flag(const Value* value) {
    return value && truth(*value);
}

Value length(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "length", args, {"obj"}, 1, a.data())) return {};
    const Value& value = *a[0];
    size_t size = 0;
    if (value.is(Kind::kString)) {
        size = value.string().length;
    } else if (value.is(Kind::kDict)) {
        size = value.dict().entries.size();
    } else if (value.is(Kind::kSequence) && value.sequence().sequence_kind != SequenceKind::kIterator) {
        size = value.sequence().items.size();
    } else if (value.is(Kind::kLoop)) {
        size = value.loop().length;
    } else if (!value.is(Kind::kUndefined)) {
        return in.fail(fmt::format("object of type '{}' has no len()", type_name(value)));
    }
    return Value::integer(static_cast<int64_t>(size));
}

Value first(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "first", args, {"seq"}, 1, a.data())) return {};
    if (a[0]->is(Kind::kSequence)) {
        Sequence& sequence = a[0]->sequence();
        const bool iterator = sequence.sequence_kind == SequenceKind::kIterator;
        if (sequence.position < sequence.items.size()) return sequence.items[iterator ? sequence.position++ : 0];
    } else if (a[0]->is(Kind::kString) && !a[0]->text().empty()) {
        return in.item(*a[0], Value::integer(0));
    } else {
        std::vector<Value> items;
        if (!in.iterate(*a[0], items)) return {};
        if (!items.empty()) return items.front();
    }
    return in.make_undefined("no first item, the sequence was empty");
}

Value last(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "last", args, {"seq"}, 1, a.data())) return {};
    if (a[0]->is(Kind::kString) && !a[0]->text().empty()) return in.item(*a[0], Value::integer(-1));
    if (a[0]->is(Kind::kSequence) && a[0]->sequence().sequence_kind == SequenceKind::kIterator)
        return in.fail("'generator' object is not reversible");
    if (a[0]->is(Kind::kSequence) && !a[0]->sequence().items.empty()) return a[0]->sequence().items.back();
    std::vector<Value> items;
    if (!in.check_defined(*a[0]) || !in.iterate(*a[0], items)) return {};
    return items.empty() ? in.make_undefined("no last item, the sequence was empty") : items.back();
}

Value list(Interpreter& in, const Args& args) {
    Found a{};
    std::vector<Value> items;
    if (!bind(in, "list", args, {"value"}, 1, a.data()) || !in.iterate(*a[0], items)) return {};
    return in.make_sequence(std::move(items));
}

Value reverse(Interpreter& in, const Args& args) {
    Found a{};
    std::vector<Value> items;
    if (!bind(in, "reverse", args, {"value"}, 1, a.data())) return {};
    if (a[0]->is(Kind::kString)) return in.slice(*a[0], Value::none(), Value::none(), Value::integer(-1));
    if (!in.iterate(*a[0], items)) return {};
    std::reverse(items.begin(), items.end());
    const bool iterator = !(a[0]->is(Kind::kSequence) && a[0]->sequence().sequence_kind == SequenceKind::kIterator);
    return in.make_sequence(std::move(items), iterator ? SequenceKind::kIterator : SequenceKind::kList);
}

Value join(Interpreter& in, const Args& args) {
    Found a{};
    std::vector<Value> items;
    if (!bind(in, "join", args, {"value", "d", "attribute"}, 1, a.data()) || !in.iterate(*a[0], items)) return {};
    const std::string separator = a[1] ? in.str(*a[1]) : "";
    std::string out;
    for (size_t i = 0; i < items.size() && !in.failed(); ++i) {
        if (i != 0) out += separator;
        out += in.str(follow(in, items[i], a[2]));
        if (out.size() > in.limits().max_string_bytes) break;
    }
    return in.make_string(std::move(out));
}

Value items_filter(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "items", args, {"value"}, 1, a.data())) return {};
    if (a[0]->is(Kind::kUndefined)) return in.make_sequence({}, SequenceKind::kIterator);
    if (!a[0]->is(Kind::kDict)) return in.fail("items: can only get item pairs from a mapping");
    std::vector<Value> pairs;
    for (const auto& [key, value] : a[0]->dict().entries)
        pairs.push_back(in.make_sequence({key, value}, SequenceKind::kTuple));
    return in.make_sequence(std::move(pairs), SequenceKind::kIterator);
}

Value in_order(const std::vector<Value>& items, const std::vector<size_t>& order, Interpreter& in) {
    std::vector<Value> sorted;
    sorted.reserve(items.size());
    for (size_t i : order) sorted.push_back(items[i]);
    return in.make_sequence(std::move(sorted));
}

Value dictsort(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "dictsort", args, {"value", "case_sensitive", "by", "reverse"}, 1, a.data()) ||
        !in.check_defined(*a[0]))
        return {};
    if (!a[0]->is(Kind::kDict)) return in.fail(fmt::format("dictsort: expected a dict, found {}", type_name(*a[0])));
    const std::string by = a[2] ? in.str(*a[2]) : "key";
    if (by != "key" && by != "value") return in.fail("dictsort: by must be 'key' or 'value'");
    std::vector<Value> pairs, keys;
    for (const auto& [key, value] : a[0]->dict().entries) {
        pairs.push_back(in.make_sequence({key, value}, SequenceKind::kTuple));
        keys.push_back(fold_case(in, by == "key" ? key : value, flag(a[1])));
    }
    return in_order(pairs, sorted_order(in, keys, flag(a[3])), in);
}

Value sort(Interpreter& in, const Args& args) {
    Found a{};
    std::vector<Value> items, keys;
    if (!bind(in, "sort", args, {"value", "reverse", "case_sensitive", "attribute"}, 1, a.data()) ||
        !in.iterate(*a[0], items))
        return {};
    std::vector<Value> paths;
    if (!is_none(a[3]) && a[3]->is(Kind::kString)) {
        std::string_view rest = a[3]->text();
        for (size_t comma = 0; comma != std::string_view::npos;) {
            comma = rest.find(',');
            paths.push_back(in.make_string(std::string(rest.substr(0, comma))));
            if (comma != std::string_view::npos) rest.remove_prefix(comma + 1);
        }
    } else if (!is_none(a[3])) {
        paths.push_back(*a[3]);
    }
    for (const Value& item : items) {
        if (in.failed()) return {};
        if (paths.empty()) {
            keys.push_back(fold_case(in, item, flag(a[2])));
            continue;
        }
        std::vector<Value> parts;
        for (const Value& path : paths) parts.push_back(fold_case(in, follow(in, item, &path), flag(a[2])));
        keys.push_back(in.make_sequence(std::move(parts)));
    }
    if (in.failed()) return {};
    return in_order(items, sorted_order(in, keys, flag(a[1])), in);
}

Value unique(Interpreter& in, const Args& args) {
    Found a{};
    std::vector<Value> items, kept;
    if (!bind(in, "unique", args, {"value", "case_sensitive", "attribute"}, 1, a.data()) || !in.iterate(*a[0], items))
        return {};
    Ref<Dict> seen(new Dict(in.heap()));
    for (const Value& item : items) {
        const Value key = fold_case(in, follow(in, item, a[2]), flag(a[1]));
        if (in.failed() || seen->find(key)) continue;
        if (!seen->set(key, Value::none())) return in.fail(fmt::format("unique: unhashable type '{}'", type_name(key)));
        kept.push_back(item);
    }
    return in.make_sequence(std::move(kept), SequenceKind::kIterator);
}

template <int sign>
Value extreme(Interpreter& in, const Args& args) {
    Found a{};
    std::vector<Value> items;
    if (!bind(in, sign < 0 ? "min" : "max", args, {"value", "case_sensitive", "attribute"}, 1, a.data()) ||
        !in.iterate(*a[0], items))
        return {};
    if (items.empty()) return in.make_undefined("no aggregated item, the sequence was empty");
    size_t best = 0;
    Value best_key;
    for (size_t i = 0; i < items.size() && !in.failed(); ++i) {
        const Value key = fold_case(in, follow(in, items[i], a[2]), flag(a[1]));
        if (i != 0 && in.order(key, best_key) != sign) continue;
        best = i;
        best_key = key;
    }
    return items[best];
}

Value sum(Interpreter& in, const Args& args) {
    Found a{};
    std::vector<Value> items;
    if (!bind(in, "sum", args, {"iterable", "attribute", "start"}, 1, a.data()) || !in.iterate(*a[0], items)) return {};
    Value total = a[2] ? *a[2] : Value::integer(0);
    if (total.is(Kind::kString)) return in.fail("sum: cannot sum strings, use join");
    for (const Value& item : items) total = in.binary(Operator::kAdd, total, follow(in, item, a[1]));
    return total;
}

Value group_by(Interpreter& in, const Args& args) {
    Found a{};
    std::vector<Value> items, keys, originals;
    if (!bind(in, "groupby", args, {"value", "attribute", "default", "case_sensitive"}, 2, a.data()) ||
        !in.iterate(*a[0], items))
        return {};
    for (const Value& item : items) {
        originals.push_back(follow(in, item, a[1], a[2]));
        keys.push_back(fold_case(in, originals.back(), flag(a[3])));
    }
    if (in.failed()) return {};
    const std::vector<size_t> order = sorted_order(in, keys, false);
    std::vector<Value> groups;
    for (size_t start = 0; start < order.size() && !in.failed();) {
        size_t end = start;
        std::vector<Value> group;
        for (; end < order.size() && in.equal(keys[order[start]], keys[order[end]]); ++end)
            group.push_back(items[order[end]]);
        groups.push_back(
            in.make_sequence({originals[order[start]], in.make_sequence(std::move(group))}, SequenceKind::kGroup));
        start = std::max(end, start + 1);  // NaN differs from itself
    }
    return in.make_sequence(std::move(groups));
}

Value batch(Interpreter& in, const Args& args) {
    Found a{};
    std::vector<Value> items, rows, row;
    int64_t count = 0;
    if (!bind(in, "batch", args, {"value", "linecount", "fill_with"}, 2, a.data()) || !in.iterate(*a[0], items) ||
        !to_int(in, "batch", *a[1], count))
        return {};
    for (const Value& item : items) {
        if (static_cast<int64_t>(row.size()) == count) {
            rows.push_back(in.make_sequence(std::exchange(row, {})));
        }
        row.push_back(item);
    }
    if (!row.empty()) {
        if (!is_none(a[2]) && count > static_cast<int64_t>(row.size())) {
            if (!in.charge(static_cast<size_t>(count))) return {};
            row.resize(static_cast<size_t>(count), *a[2]);
        }
        rows.push_back(in.make_sequence(std::move(row)));
    }
    return in.make_sequence(std::move(rows), SequenceKind::kIterator);
}

Value slice_filter(Interpreter& in, const Args& args) {
    Found a{};
    std::vector<Value> items, columns;
    int64_t slices = 0;
    if (!bind(in, "slice", args, {"value", "slices", "fill_with"}, 2, a.data()) || !in.iterate(*a[0], items) ||
        !to_int(in, "slice", *a[1], slices))
        return {};
    if (slices == 0) return in.fail("integer division or modulo by zero");
    if (slices < 0) slices = 0;
    if (!in.charge(static_cast<size_t>(slices))) return {};
    const auto n = static_cast<size_t>(slices);
    for (size_t i = 0, at = 0; i < n; ++i) {
        const size_t extra = i < items.size() % n ? 1 : 0, size = items.size() / n + extra;
        std::vector<Value> column(items.begin() + static_cast<std::ptrdiff_t>(at),
                                  items.begin() + static_cast<std::ptrdiff_t>(at + size));
        if (!is_none(a[2]) && extra == 0) column.push_back(*a[2]);
        columns.push_back(in.make_sequence(std::move(column)));
        at += size;
    }
    return in.make_sequence(std::move(columns), SequenceKind::kIterator);
}

Value map(Interpreter& in, const Args& args) {
    std::vector<Value> items, mapped;
    if (!truth(args.positional[0])) return in.make_sequence({}, SequenceKind::kIterator);  // also None, as Jinja does
    if (!in.iterate(args.positional[0], items)) return {};
    if (args.positional.size() == 1) {
        const Value *attribute = nullptr, *fallback = nullptr;
        for (const auto& [name, value] : args.named) {
            if (name != "attribute" && name != "default")
                return in.fail(fmt::format("map: unexpected keyword argument '{}'", name));
            (name == "attribute" ? attribute : fallback) = &value;
        }
        if (!attribute) return in.fail("map: requires a filter or an attribute");
        for (const Value& item : items) mapped.push_back(follow(in, item, attribute, fallback));
        return in.make_sequence(std::move(mapped), SequenceKind::kIterator);
    }
    const std::string name = in.str(args.positional[1]);
    Args inner;
    inner.positional.assign(args.positional.begin() + 1, args.positional.end());
    inner.named = args.named;
    for (const Value& item : items) {
        if (in.failed()) return {};
        inner.positional[0] = item;
        mapped.push_back(in.filter(name, inner));
    }
    return in.make_sequence(std::move(mapped), SequenceKind::kIterator);
}

// select, reject, selectattr, rejectattr.
template <bool wanted, bool by_attribute>
Value choose(Interpreter& in, const Args& args) {
    std::vector<Value> items, kept;
    if (!truth(args.positional[0])) return in.make_sequence({}, SequenceKind::kIterator);  // also None, as Jinja does
    if (!in.iterate(args.positional[0], items)) return {};
    const size_t test_at = by_attribute ? 2 : 1;
    if (by_attribute && args.positional.size() < 2) return in.fail("missing parameter for attribute name");
    const bool tested = args.positional.size() > test_at;
    const std::string name = tested ? in.str(args.positional[test_at]) : "";
    Args inner;
    if (tested)
        inner.positional.assign(args.positional.begin() + static_cast<std::ptrdiff_t>(test_at), args.positional.end());
    inner.named = args.named;
    for (const Value& item : items) {
        if (in.failed()) return {};
        const Value subject = by_attribute ? follow(in, item, &args.positional[1]) : item;
        if (tested) inner.positional[0] = subject;
        if ((tested ? in.test(name, inner) : truth(subject)) == wanted) kept.push_back(item);
    }
    return in.make_sequence(std::move(kept), SequenceKind::kIterator);
}

// Unlike a dot in the template, |attr never looks at a dict's keys.
Value attr(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "attr", args, {"obj", "name"}, 2, a.data()) || !in.check_defined(*a[0])) return {};
    const std::string name = in.str(*a[1]);
    if (a[0]->is(Kind::kDict) && !find_method(*a[0], name))
        return in.make_undefined(fmt::format("'dict object' has no attribute '{}'", name.substr(0, 200)));
    return in.attribute(*a[0], name);
}

constexpr NamedFilter kSequenceFilters[] = {
    {"attr", attr},
    {"batch", batch},
    {"count", length},
    {"dictsort", dictsort},
    {"first", first},
    {"groupby", group_by},
    {"items", items_filter},
    {"join", join},
    {"last", last},
    {"length", length},
    {"list", list},
    {"map", map},
    {"max", extreme<1>},
    {"min", extreme<-1>},
    {"reject", choose<false, false>},
    {"rejectattr", choose<false, true>},
    {"reverse", reverse},
    {"select", choose<true, false>},
    {"selectattr", choose<true, true>},
    {"slice", slice_filter},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
};

}  // namespace

Filter find_sequence_filter(std::string_view name) {
    for (const NamedFilter& filter : kSequenceFilters)
        if (filter.name == name) return filter.apply;
    return nullptr;
}

}  // namespace sterna::jinja
