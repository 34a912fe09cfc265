#include "text/jinja.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "support/testdata.h"

namespace sterna {
namespace {

constexpr int64_t kNow = 1795305600;  // the clock of tools/make_jinja_golden.py

std::string read(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

std::string hash(std::string_view text) {  // FNV-1a
    uint64_t value = 0xCBF29CE484222325u;
    for (char c : text) value = (value ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
    return fmt::format("{:016x}", value);
}

Result<std::string> render(std::string_view source, const OrderedJson& variables = OrderedJson::object(),
                           const JinjaLimits& limits = {}) {
    STERNA_TRY(compiled, JinjaTemplate::compile(source, limits));
    return compiled.render(variables, kNow);
}

struct Case {
    std::string name, variables, source, kind, expected;
};

// "== name", then "-- variables", "-- template" and "-- expect", "-- raised" or "-- error", each with its text below.
std::vector<Case> read_cases(const std::filesystem::path& path) {
    std::vector<Case> cases;
    std::string text = "\n" + read(path);
    auto section = [](const std::string& part, std::string_view from, std::string_view to) {
        const size_t start = part.find(from);
        if (start == std::string::npos) return std::string();
        const size_t begin = start + from.size(), end = to.empty() ? part.size() : part.find(to, begin - 1);
        return end == std::string::npos || end < begin ? std::string() : part.substr(begin, end - begin);
    };
    for (size_t at = text.find("\n== "); at != std::string::npos;) {
        const size_t next = text.find("\n== ", at + 1);
        const std::string part = text.substr(at + 4, (next == std::string::npos ? text.size() - 1 : next) - at - 4);
        Case c;
        c.name = part.substr(0, part.find('\n'));
        c.variables = section(part, "\n-- variables\n", "\n-- template\n");
        for (const char* kind : {"expect", "raised", "error"}) {
            const std::string mark = fmt::format("\n-- {}\n", kind);
            if (part.find(mark) == std::string::npos) continue;
            c.kind = kind;
            c.source = section(part, "\n-- template\n", mark);
            c.expected = section(part, mark, "");
        }
        cases.push_back(std::move(c));
        at = next;
    }
    return cases;
}

TEST(Jinja, RendersWhatPythonRenders) {
    size_t count = 0;
    for (const auto& file : std::filesystem::directory_iterator(source_path("tests/cases"))) {
        const std::string name = file.path().filename().string();
        if (!name.starts_with("jinja_") || !name.ends_with(".case")) continue;
        for (const Case& c : read_cases(file.path())) {
            SCOPED_TRACE(c.name + ": " + c.source);
            ++count;
            const auto variables = c.variables.empty() ? OrderedJson::object() : OrderedJson::parse(c.variables);
            const auto result = render(c.source, variables);
            if (c.kind == "expect") {
                EXPECT_TRUE(result.has_value()) << result.error().message;
                EXPECT_EQ(result.value_or(""), c.expected);
                continue;
            }
            EXPECT_FALSE(result.has_value()) << *result;
            if (result) continue;
            if (c.kind == "raised") {
                EXPECT_EQ(result.error().message, c.expected);
            } else {
                EXPECT_TRUE(result.error().message.starts_with("line ")) << result.error().message;
            }
        }
    }
    EXPECT_GE(count, 150u);
}

TEST(Jinja, RendersTheTemplatesOfRealModels) {
    const auto folder = shared_testdata("chat-templates");
    if (!folder) GTEST_SKIP() << "no shared test data";
    const auto golden = OrderedJson::parse(read(source_path("tests/golden/jinja/chat_templates.json")));
    const auto data = OrderedJson::parse(read(*folder / "conversations.json"));
    size_t compared_with_other = 0;
    for (const auto& [name, hashes] : golden["templates"].items()) {
        const auto compiled = JinjaTemplate::compile(read(*folder / (name + ".jinja")));
        ASSERT_TRUE(compiled.has_value()) << name << ": " << compiled.error().message;
        const auto other = OrderedJson::parse(read(*folder / (name + ".expected.json")));
        std::istringstream words(hashes.get<std::string>());
        for (const auto& [conversation, values] : data["conversations"].items()) {
            for (const auto& [option, settings] : data["options"].items()) {
                const std::string key = conversation + "/" + option;
                SCOPED_TRACE(name + " " + key);
                OrderedJson variables = {{"tools", nullptr}, {"documents", nullptr}};
                variables.update(values);
                variables.update(settings);
                variables["bos_token"] = data["bos_token"];
                variables["eos_token"] = data["eos_token"];
                const auto result = compiled->render(variables, kNow);
                std::string word;
                words >> word;
                if (word == "error") {
                    EXPECT_FALSE(result.has_value());
                } else if (word.starts_with("!")) {
                    ASSERT_FALSE(result.has_value());
                    EXPECT_EQ("!" + hash(result.error().message), word) << result.error().message;
                } else {
                    ASSERT_TRUE(result.has_value()) << result.error().message;
                    EXPECT_EQ(hash(*result), word) << *result;
                }
                const auto& differs = golden["differs"];
                if (!other[key].contains("text") ||
                    std::find(differs.begin(), differs.end(), name + " " + key) != differs.end())
                    continue;
                ++compared_with_other;
                EXPECT_EQ(result.value_or(""), other[key]["text"].get<std::string>());
            }
        }
    }
    EXPECT_GE(compared_with_other, 800u);
}

TEST(Jinja, ErrorsNameLineAndVariable) {
    auto message = [](std::string_view source) { return render(source, {{"m", {{"a", 1}}}}).error().message; };
    EXPECT_EQ(message("x\n\n{{ m.foo.bar }}"), "line 3: 'm' has no attribute 'foo'");
    EXPECT_EQ(message("\n{{ nothing.bar }}"), "line 2: 'nothing' is undefined");
    EXPECT_EQ(message("{% if a %}\n{% endfor %}"), "line 2: expected 'endif', found 'endfor'");
    EXPECT_EQ(message("\n{{ m.a + 'x' }}"), "line 2: unsupported operand type(s) for +: 'int' and 'str'");
}

TEST(Jinja, LimitsHoldAgainstHostileTemplates) {
    auto limited = [](const std::string& source) {
        JinjaLimits limits;
        limits.max_steps = 300'000;
        limits.max_live_bytes = 1u << 24;
        const auto result = render(source, OrderedJson::object(), limits);
        return !result && (result.error().code == ErrorCode::kLimit || result.error().code == ErrorCode::kUnsupported);
    };
    EXPECT_TRUE(limited("{{ 'x' * 10**9 }}"));
    EXPECT_TRUE(limited("{{ range(10**12) }}"));
    EXPECT_TRUE(limited("{{ [0] * 10**12 }}"));
    EXPECT_TRUE(limited(
        "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}"));
    EXPECT_TRUE(
        limited("{% set n = namespace(s=['ab']) %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}"));
    EXPECT_TRUE(limited(
        "{% set n = namespace(s=['ab']) %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}"));
    EXPECT_TRUE(
        limited("{% set n = namespace(s=['ab'], t=['ab']) %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}{% set "
                "n.t = [n.t, n.t] %}{% endfor %}{{ n.s == n.t }}"));
    EXPECT_TRUE(limited("{% set n = namespace(s=[]) %}{% for i in range(90000) %}{% set n.s = [n.s] %}{% endfor %}"));
    EXPECT_TRUE(limited("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"));
    EXPECT_TRUE(
        limited("{% for i in range(99999) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' * "
                "1000 }}{% endfor %}"));
    EXPECT_TRUE(limited("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"));
    EXPECT_TRUE(limited("{{ " + std::string(50'000, '(') + std::string(50'000, ')') + " }}"));
    EXPECT_TRUE(limited("{{ " + std::string(50'000, '[') + std::string(50'000, ']') + " }}"));
    EXPECT_TRUE(limited("{{ " + std::string(100'000, '-') + "1 }}"));
    std::string nots = "{{ ", dots = "{{ a", ifs, filters = "{{ a";
    for (int i = 0; i < 50'000; ++i) {
        nots += "not ";
        dots += ".a";
        ifs += "{% if 1 %}";
        filters += "|e";
    }
    EXPECT_TRUE(limited(nots + "1 }}"));
    EXPECT_TRUE(limited(dots + " }}"));
    EXPECT_TRUE(limited(filters + " }}"));
    EXPECT_TRUE(limited(ifs));
    EXPECT_TRUE(limited("{{ '%999999999d' % 1 }}"));
    EXPECT_TRUE(limited("{{ '{:>999999999}'.format(1) }}"));
    EXPECT_TRUE(limited("{{ 'a'.center(999999999) }}"));
    EXPECT_TRUE(limited("{{ 2 ** 100 }}"));
    EXPECT_TRUE(limited(std::string((1u << 20) + 1, 'x')));
    OrderedJson deep = 1;
    for (int i = 0; i < 1000; ++i) deep = OrderedJson::array({deep});
    EXPECT_FALSE(render("{{ d }}", {{"d", deep}}).has_value());
}

// Values that hold each other must neither leak (the sanitizer sees it) nor exhaust the stack when they go.
TEST(Jinja, CyclesAndLongChainsEnd) {
    for (const char* source :
         {"{% set n = namespace() %}{% set n.me = n %}{% set n.l = [n] %}ok",
          "{% set n = namespace() %}{% for i in range(50000) %}{% set n = namespace(p=n) %}{% endfor %}ok",
          "{% set r = namespace(p=none) %}{% for i in range(50000) %}{% set r.p = namespace(p=r.p) %}{% endfor %}ok",
          "{% set n = namespace() %}{% for i in [1, 2] %}{% set n.l = loop %}{% set n.c = loop.changed %}{{ '' if "
          "loop.changed(loop.changed) }}{% endfor %}ok",
          "{% set n = namespace(m=none) %}{% for i in range(20000) %}{% set old = n.m %}{% macro m() %}{{ old }}{% "
          "endmacro %}{% set n.m = m %}{% endfor %}ok",
          "{% set n = namespace(m=none) %}{% for i in range(20000) %}{% for j in [1] %}{% if loop.changed(n.m) %}{% "
          "endif %}{% set n.m = loop %}{% endfor %}{% endfor %}ok"}) {
        const auto result = render(source);
        EXPECT_EQ(result.value_or("error"), "ok") << source;
    }
    EXPECT_FALSE(render("{% set n = namespace() %}{% set n.me = n %}{{ n }}").has_value());
}

TEST(Jinja, BrokenUtf8PassesThrough) {
    const std::string broken = "a\xFF\xC3z\xE2\x82";
    EXPECT_EQ(render("{{ '" + broken + "' | trim }}").value_or("error"), broken);
    EXPECT_EQ(render("{{ '" + broken + "' | length }}").value_or("error"), "6");
    EXPECT_EQ(render("{{ '" + broken + "'[::-1][::-1] }}").value_or("error"), broken);
}

}  // namespace
}  // namespace sterna
