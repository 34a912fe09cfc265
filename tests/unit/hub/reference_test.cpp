#include <gtest/gtest.h>

#include "hub/reference.h"

namespace sterna {
namespace {

std::string shown(std::string_view text, std::string_view endpoint = kDefaultEndpoint) {
    auto parsed = parse_hub_reference(text, endpoint);
    if (!parsed) return "error";
    return parsed->repo + "|" + parsed->type + "|" + parsed->revision + "|" + parsed->file + "|" + parsed->url;
}

TEST(Reference, Names) {
    EXPECT_EQ(shown("org/name"), "org/name||||");
    EXPECT_EQ(shown("org/name:q4_k_m"), "org/name|q4_k_m|||");
    EXPECT_EQ(shown("org/name@refs/pr/1"), "org/name||refs/pr/1||");
    EXPECT_EQ(shown("org/name:Q8_0@v1.0"), "org/name|Q8_0|v1.0||");
    EXPECT_EQ(shown("org/name@v1.0:Q8_0"), "org/name|Q8_0|v1.0||");
    EXPECT_EQ(shown("hf:org/name:f16"), "org/name|f16|||");
    EXPECT_EQ(shown("hf://org/Name-1.5_b"), "org/Name-1.5_b||||");
    EXPECT_EQ(shown("hf:gpt2"), "gpt2||||");
    EXPECT_EQ(shown("hf.co/org/name:q4_0"), "org/name|q4_0|||");
}

TEST(Reference, WhatIsNone) {
    for (const char* bad : {"",
                            "name",
                            "/",
                            "org/",
                            "/name",
                            "a/b/c",
                            "org/..",
                            "../name",
                            "org/.name",
                            "org/-x",
                            "org/a--b",
                            "org/x.git",
                            "org/name:",
                            "org/name@",
                            "org/name:a:b",
                            "org/name@a@b",
                            "org/name:a/b",
                            "org/name@../x",
                            "org/name@a//b",
                            "org/na me",
                            "org/n\nx",
                            "hf:",
                            "hf:a/b/c",
                            "org/name@x.lock",
                            "org/\xc3\xa4"})
        EXPECT_EQ(shown(bad), "error") << bad;
    EXPECT_EQ(shown("org/" + std::string(97, 'a')), "error");
    EXPECT_EQ(shown("org/" + std::string(96, 'a')), "org/" + std::string(96, 'a') + "||||");
    EXPECT_EQ(shown(std::string(100'000, 'a')), "error");
}

TEST(Reference, AddressesOfTheHub) {
    EXPECT_EQ(shown("https://huggingface.co/org/name"), "org/name||||");
    EXPECT_EQ(shown("https://huggingface.co/org/name/"), "org/name||||");
    EXPECT_EQ(shown("https://HuggingFace.co/org/name/tree/main/sub"), "org/name||main||");
    EXPECT_EQ(shown("https://huggingface.co/org/name/blob/main/a/m%20x.gguf"), "org/name||main|a/m x.gguf|");
    EXPECT_EQ(shown("https://huggingface.co/org/name/resolve/refs%2Fpr%2F3/m.gguf?download=true#x"),
              "org/name||refs/pr/3|m.gguf|");
    EXPECT_EQ(shown("https://huggingface.co/org/name/resolve/refs/pr/3/m.gguf"), "org/name||refs/pr/3|m.gguf|");
    EXPECT_EQ(shown("https://huggingface.co/gpt2/blob/main/m.gguf"), "gpt2||main|m.gguf|");
    EXPECT_EQ(shown("https://huggingface.co/datasets/a/b"), "error");
    EXPECT_EQ(shown("https://huggingface.co/org/name/blob/main/../../x"), "error");
    EXPECT_EQ(shown("https://huggingface.co/org/name/blob/main/%2e%2e/x"), "error");
    EXPECT_EQ(shown("https://huggingface.co/org/name/blob/main/a%00b"), "error");
    EXPECT_EQ(shown("https://huggingface.co/org/name/discussions/1"), "error");
    // Another hub; the public one's addresses mean the same repositories.
    EXPECT_EQ(shown("http://mirror:8080/hf/org/name", "http://mirror:8080/hf"), "org/name||||");
    EXPECT_EQ(shown("https://huggingface.co/org/name", "http://mirror:8080/hf"), "org/name||||");
}

TEST(Reference, OtherAddresses) {
    EXPECT_EQ(shown("https://example.org/a/m.gguf?x=1#frag"), "|||m.gguf|https://example.org/a/m.gguf?x=1");
    EXPECT_EQ(shown("https://example.org/m%2Egguf"), "|||m.gguf|https://example.org/m%2Egguf");
    for (const char* bad :
         {"https://example.org/", "https://example.org", "https://example.org/a/", "https://u:p@example.org/x",
          "ftp://e/x", "file:///etc/passwd", "https:///x", "https://e:/x", "https://e:99999999/x", "https://e/a b",
          "https://e/%2e%2e", "https://e/a%2fb", "https://e/x%00", "://e/x"})
        EXPECT_EQ(shown(bad), "error") << bad;
}

TEST(Reference, WhatLooksLikeOne) {
    EXPECT_TRUE(looks_like_hub_reference("org/name"));
    EXPECT_TRUE(looks_like_hub_reference("hf:name"));
    EXPECT_TRUE(looks_like_hub_reference("https://e/x"));
    for (const char* path : {"m.gguf", "dir/m.gguf", "/org/name", "./org/name", "../name", "name", "a/b/c"})
        EXPECT_FALSE(looks_like_hub_reference(path)) << path;
}

TEST(Reference, PathsThatStayInside) {
    for (const char* good : {"a", "a/b.gguf", "a b/c", "..a", "a..", "\xc3\xa4/x"})
        EXPECT_TRUE(is_safe_relative_path(good)) << good;
    using namespace std::string_view_literals;
    for (std::string_view bad :
         {""sv, "/a"sv, "a/"sv, "a//b"sv, "."sv, ".."sv, "a/../b"sv, "./a"sv, "a\\b"sv, "a\0b"sv, "a\nb"sv, "a\x7f"sv})
        EXPECT_FALSE(is_safe_relative_path(bad)) << bad;
    EXPECT_FALSE(is_safe_relative_path(std::string(256, 'a')));
}

TEST(Reference, Escapes) {
    EXPECT_EQ(url_encode("a b/c+%", true), "a%20b/c%2B%25");
    EXPECT_EQ(url_encode("refs/pr/1", false), "refs%2Fpr%2F1");
    EXPECT_EQ(url_decode("a%20b%2fc%"), "a b/c%");
    EXPECT_EQ(url_decode("%zz%4"), "%zz%4");
}

TEST(Reference, Origins) {
    auto origin = [](std::string_view a, std::string_view b) { return same_origin(*split_url(a), *split_url(b)); };
    EXPECT_TRUE(origin("https://a.b/x", "https://A.b:443/y?z"));
    EXPECT_FALSE(origin("https://a.b/x", "http://a.b/x"));
    EXPECT_FALSE(origin("https://a.b/x", "https://a.b:444/x"));
    EXPECT_FALSE(origin("https://a.b/x", "https://a.b.c/x"));
    EXPECT_EQ(split_url("http://[::1]:8080/x")->port, "8080");
    EXPECT_EQ(split_url("http://[::1]/x")->port, "80");
}

}  // namespace
}  // namespace sterna
