#include <gtest/gtest.h>

#include <map>
#include <set>

#include "train/corpus_rows.h"

namespace sterna::train {
namespace {

TEST(PlainText, DocumentsStandBetweenEmptyLines) {
    auto documents = split_plain_text("\xEF\xBB\xBF one\r\ntwo\n \t\n\n\nthree", "f");
    ASSERT_TRUE(documents);
    ASSERT_EQ(documents->size(), 2u);
    EXPECT_EQ((*documents)[0].parts[0].text, " one\ntwo");
    EXPECT_EQ((*documents)[1].parts[0].text, "three");
    EXPECT_EQ(split_plain_text("\n\n", "f").error().message, "f: holds no text");
    EXPECT_EQ(split_plain_text("a\nb\xC3", "f").error().message, "f:2: byte 0xC3 at offset 3 is no UTF-8");
}

constexpr const char* kTemplate =
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif "
    "%}<e>\n"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";

Result<std::vector<TextDocument>> chat_of(const std::string& lines, const char* source = kTemplate) {
    auto chat = ChatTemplate::from_source(source, "", "<e>");
    EXPECT_TRUE(chat);
    ThreadPool pool(2);
    return read_json_lines(lines, "f", &*chat, pool);
}

TEST(JsonLines, RepliesArePartsOfTheirOwn) {
    auto documents = chat_of(R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
{"role": "user", "content": "c"}, {"role": "assistant", "content": "d", "weight": 0.5}]})" +
                             std::string("\n"));
    EXPECT_FALSE(documents);  // a document is one line
    documents = chat_of(
        R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": null, "tool_calls": [{"x": 1}], "weight": 0.5}]})");
    ASSERT_TRUE(documents) << documents.error().message;
    const std::vector<TextPart>& parts = (*documents)[0].parts;
    ASSERT_EQ(parts.size(), 3u);
    EXPECT_EQ(parts[0].text, "[user]a<e>\n[assistant]");
    EXPECT_FALSE(parts[0].is_reply);
    EXPECT_EQ(parts[1].text, "b<e>\n[user]c<e>\n[assistant]");
    EXPECT_TRUE(parts[1].is_reply);
    EXPECT_EQ(parts[2].text, "[{\"x\": 1}]<e>\n");
    EXPECT_EQ(parts[2].weight, 0.5f);
}

TEST(JsonLines, ATemplateThatRewritesThePastIsRefused) {
    auto documents =
        chat_of(R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})",
                "{{ messages | length }}{% if add_generation_prompt %}x{% endif %}");
    ASSERT_FALSE(documents);
    EXPECT_NE(documents.error().message.find("f:1: the chat template"), std::string::npos);
}

TokenCorpus corpus_of(const std::vector<uint32_t>& sizes, double weight = 1.0) {
    TokenCorpus corpus;
    corpus.file_weights = {weight};
    for (uint32_t n : sizes) {
        corpus.pieces.push_back({corpus.tokens.size(), n, 0});
        for (uint32_t i = 0; i <= n; ++i) {
            corpus.tokens.push_back(int32_t(corpus.pieces.size() * 1000 + i));
            corpus.weights.push_back(i % 2 ? 1.0f : 0.25f);
        }
    }
    return corpus;
}

std::vector<uint32_t> random_sizes(int n, uint32_t most) {
    std::vector<uint32_t> sizes;
    uint32_t state = 7;
    for (int i = 0; i < n; ++i) sizes.push_back(1 + ((state = state * 1664525 + 1013904223) >> 10) % most);
    return sizes;
}

TEST(Rows, EveryPieceOnceAndNoneCut) {
    const TokenCorpus corpus = corpus_of(random_sizes(3000, 64));
    const RowPlan plan = plan_epoch(corpus, 64, 5, 0);
    std::set<uint32_t> seen;
    int64_t places = 0;
    for (int64_t row = 0; row < plan.n_rows(); ++row) {
        int64_t n = 0;
        for (uint64_t i = plan.begin[size_t(row)]; i < plan.begin[size_t(row) + 1]; ++i) {
            EXPECT_TRUE(seen.insert(plan.pieces[i]).second);
            n += corpus.pieces[plan.pieces[i]].n_places;
        }
        EXPECT_LE(n, 64);
        EXPECT_GT(n, 0);
        places += n;
    }
    EXPECT_EQ(seen.size(), 3000u);
    EXPECT_GT(double(places) / double(plan.n_rows() * 64), 0.97);
}

TEST(Rows, AFunctionOfSeedAndEpoch) {
    const TokenCorpus corpus = corpus_of(random_sizes(500, 32));
    EXPECT_EQ(plan_epoch(corpus, 32, 5, 3).pieces, plan_epoch(corpus, 32, 5, 3).pieces);
    EXPECT_NE(plan_epoch(corpus, 32, 5, 3).pieces, plan_epoch(corpus, 32, 5, 4).pieces);
    EXPECT_NE(plan_epoch(corpus, 32, 5, 3).pieces, plan_epoch(corpus, 32, 6, 3).pieces);
}

TEST(Rows, WeightsAreCopies) {
    const TokenCorpus corpus = corpus_of(random_sizes(1000, 32), 2.5);
    std::map<uint32_t, int> count;
    const RowPlan plan = plan_epoch(corpus, 32, 5, 0);
    for (uint32_t piece : plan.pieces) ++count[piece];
    for (const auto& [piece, n] : count) EXPECT_TRUE(n == 2 || n == 3);
    EXPECT_EQ(count.size(), 1000u);
    EXPECT_NEAR(double(plan.pieces.size()), 2500, 60);
    EXPECT_EQ(plan_epoch(corpus_of({3, 4}, 0.0), 32, 5, 0).n_rows(), 0);
}

TEST(Rows, BatchOfTwoDocuments) {
    const TokenCorpus corpus = corpus_of({3, 2});
    const RowPlan plan = plan_in_order(corpus, 6);
    ASSERT_EQ(plan.n_rows(), 1);
    RowBatch rows(6);
    rows.add_row(corpus, plan, 0);
    const Batch batch = rows.view(0, 1);
    auto list = [](auto span) { return std::vector(span.begin(), span.end()); };
    EXPECT_EQ(list(batch.tokens), (std::vector<int32_t>{1000, 1001, 1002, 2000, 2001, 0}));
    EXPECT_EQ(list(batch.targets), (std::vector<int32_t>{1001, 1002, 1003, 2001, 2002, 0}));
    EXPECT_EQ(list(batch.weights), (std::vector<float>{1, 0.25, 1, 1, 0.25, 0}));
    EXPECT_EQ(list(batch.documents), (std::vector<int32_t>{0, 0, 0, 1, 1, 2}));
    EXPECT_DOUBLE_EQ(rows.weight(0, 1), 3.5);
}

}  // namespace
}  // namespace sterna::train
