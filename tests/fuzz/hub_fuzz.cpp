// Any text as the name of a model, as an address, and as the hub's answer: nothing crashes, and what is accepted stays inside its
// folder.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "hub/choose.h"
#include "hub/reference.h"
#include "hub/repo_info.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace sterna;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    auto outside = [](const std::string& path) {
        const std::string joined = (std::filesystem::path("/folder") / path).lexically_normal().string();
        return !joined.starts_with("/folder/") || joined.find('\0') != joined.npos;
    };
    for (std::string_view endpoint : {kDefaultEndpoint, std::string_view("http://h:1/hub")}) {
        auto reference = parse_hub_reference(text, endpoint);
        if (!reference) continue;
        if (reference->repo.empty() == reference->url.empty()) std::abort();
        if (!reference->repo.empty() && !check_repo_name(reference->repo)) std::abort();
        if (!reference->file.empty() && outside(reference->file)) std::abort();
    }
    (void)looks_like_hub_reference(text);
    if (url_decode(url_encode(text, size % 2)) != text) std::abort();
    if (auto url = split_url(text); url && (url->host.empty() || url->path.front() != '/')) std::abort();

    auto info = parse_repo_info(text, "o/n");
    if (!info) return 0;
    for (const HubFile& file : info->files)
        if (outside(file.path)) std::abort();
    for (const char* type : {"", "q4_k_m"}) {
        auto choice = choose_files(info->files, {type, "", {}}, "o/n");
        if (choice && (choice->files.empty() || choice->main.empty())) std::abort();
    }
    (void)choose_files(info->files, {"", "", {"*.gguf"}}, "o/n");
    return 0;
}
