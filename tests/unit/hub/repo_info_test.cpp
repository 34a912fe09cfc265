#include <gtest/gtest.h>

#include "base/sha256.h"
#include "hub/http.h"
#include "hub/repo_info.h"
#include "hub/sha1.h"

namespace sterna {
namespace {

const std::string kCommit(40, 'a'), kSha1(40, 'b'), kSha256(64, 'c');

TEST(RepoInfo, ReadsTheHubsAnswer) {
    auto info = parse_repo_info(R"({"sha": ")" + kCommit +
                                    R"(", "private": false, "gated": "manual", "new": {"x": [1]}, "siblings": [
        {"rfilename": "z/m.gguf", "size": 1, "blobId": ")" +
                                    kSha1 + R"(", "lfs": {"sha256": ")" + kSha256 + R"(", "size": 5000000000}},
        {"rfilename": "config.json", "size": 12, "blobId": ")" +
                                    kSha1 + R"("},
        {"rfilename": "unsaid", "size": -1, "blobId": 7, "lfs": null}]})",
                                "o/n");
    ASSERT_TRUE(info) << info.error().message;
    EXPECT_EQ(info->commit, kCommit);
    EXPECT_TRUE(info->gated);
    EXPECT_FALSE(info->is_private);
    ASSERT_EQ(info->files.size(), 3u);
    EXPECT_EQ(info->files[0].path, "config.json");
    EXPECT_EQ(info->files[0].etag(), kSha1);
    EXPECT_EQ(info->files[1].size, 0u);
    EXPECT_EQ(info->files[1].etag(), "");
    EXPECT_EQ(info->files[2].size, 5'000'000'000u);
    EXPECT_EQ(info->files[2].etag(), kSha256);
}

TEST(RepoInfo, RefusesWhatItIsNot) {
    auto fails = [](const std::string& json) { return !parse_repo_info(json, "o/n").has_value(); };
    for (const char* text : {"", "x", "1", "null", "[]", "{}", R"({"sha": 1, "siblings": []})"})
        EXPECT_TRUE(fails(text)) << text;
    EXPECT_TRUE(fails(R"({"sha": ")" + kCommit + R"("})"));
    EXPECT_TRUE(fails(R"({"sha": ")" + kCommit + R"(", "siblings": {}})"));
    EXPECT_TRUE(fails(R"({"sha": ")" + kCommit + R"(", "siblings": [1]})"));
    EXPECT_TRUE(fails(R"({"sha": ")" + kCommit + R"(", "siblings": [{}]})"));
    EXPECT_TRUE(fails(R"({"sha": ")" + kCommit + R"(", "siblings": [{"rfilename": "../x"}]})"));
    EXPECT_FALSE(fails(R"({"sha": ")" + kCommit + R"(", "siblings": []})"));
    EXPECT_TRUE(fails(std::string(RepoLimits::kMaxJsonBytes + 1, ' ')));
}

TEST(RepoInfo, Etags) {
    EXPECT_EQ(normalize_etag("\"abc\""), "abc");
    EXPECT_EQ(normalize_etag("W/\"abc\""), "abc");
    EXPECT_EQ(normalize_etag("abc"), "abc");
    EXPECT_TRUE(is_safe_etag("abc-1_2.x"));
    for (const char* bad : {"", ".", "..", "../x", "a/b", ".hidden", "a b"}) EXPECT_FALSE(is_safe_etag(bad)) << bad;
    EXPECT_FALSE(is_safe_etag(std::string(129, 'a')));
}

TEST(Sha1, MatchesGit) {
    auto git = [](std::string text) {
        Sha1 sha1;
        const std::string header = "blob " + std::to_string(text.size());
        sha1.update(header.c_str(), header.size() + 1);
        sha1.update(text.data(), text.size());
        return hex_text(sha1.finish());
    };
    // git hash-object --stdin
    EXPECT_EQ(git(""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    EXPECT_EQ(git("test content\n"), "d670460b4b4aece5915caf5c68d12f560a9fe3e4");
    // FIPS 180-4's examples, and every length around a block's end against the pieces it is fed in.
    auto plain = [](const std::string& text, size_t piece) {
        Sha1 sha1;
        for (size_t at = 0; at < text.size(); at += piece)
            sha1.update(text.data() + at, std::min(piece, text.size() - at));
        return hex_text(sha1.finish());
    };
    EXPECT_EQ(plain("abc", 3), "a9993e364706816aba3e25717850c26c9cd0d89d");
    EXPECT_EQ(plain("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 7),
              "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    for (size_t n : {55u, 56u, 63u, 64u, 65u, 127u, 128u})
        EXPECT_EQ(plain(std::string(n, 'x'), n), plain(std::string(n, 'x'), 1)) << n;
}

TEST(HttpResponse, Headers) {
    HttpResponse response;
    response.url = "https://a.b/c/d?e";
    response.status = 206;
    response.headers = {
        {"content-range", "bytes 5-9/10"}, {"content-length", "5"}, {"location", "/x#f"}, {"retry-after", "12"}};
    EXPECT_EQ(stated_length(response), 10u);
    EXPECT_EQ(stated_first_byte(response), 5u);
    EXPECT_EQ(redirect_target(response), "https://a.b/x");
    EXPECT_EQ(retry_after_seconds(response), 12);
    auto to = [&](const char* location) {
        response.headers["location"] = location;
        return redirect_target(response);
    };
    EXPECT_EQ(to("x"), "https://a.b/c/x");
    EXPECT_EQ(to("//h/x"), "https://h/x");
    EXPECT_EQ(to("http://h/x"), "http://h/x");
    EXPECT_EQ(to(""), "");
    response.headers = {{"content-range", "bytes */10"}, {"retry-after", "soon"}};
    EXPECT_EQ(stated_first_byte(response), ~uint64_t(0));
    EXPECT_EQ(retry_after_seconds(response), -1);
    response.headers = {{"content-length", "99999999999999999999999"},
                        {"retry-after", "Thu, 01 Jan 1970 00:00:10 GMT"}};
    response.status = 200;
    EXPECT_EQ(stated_length(response), 0u);
    EXPECT_EQ(retry_after_seconds(response), 0);
}

}  // namespace
}  // namespace sterna
