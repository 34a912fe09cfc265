#include "hub/download.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sha256.h"
#include "hub/cache.h"
#include "hub/repo_info.h"
#include "hub/sha1.h"

namespace sterna {

namespace {

constexpr size_t kReadBytes = 1 << 20;

struct File {
    int fd = -1;
    ~File() {
        if (fd >= 0) ::close(fd);
    }
};

bool is_disk_full(int error) {
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

class Download {
public:
    Download(Http& http, const HubSettings& settings, const DownloadTarget& target,
             const std::function<void(uint64_t)>& progress, const Note& note)
        : http_(http), target_(target), progress_(progress), note_(note), retry_(settings, note) {}

    Result<DownloadEnd> run(const std::function<Error(const HttpResponse&)>& explain);

private:
    Status open();
    Status start_again(const std::string& why);
    Status begin_body(const HttpResponse& response);
    Status take(Bytes bytes);
    Status fetch(const std::function<Error(const HttpResponse&)>& explain);
    Status check_space() const;
    Result<std::string> sha1_of_file() const;
    Result<bool> is_right();
    Status finish();
    Error write_error(int code) const;

    Http& http_;
    const DownloadTarget& target_;
    const std::function<void(uint64_t)>& progress_;
    const Note& note_;
    Retry retry_;
    File file_;
    uint64_t have_ = 0, size_ = 0;
    bool from_before_ = false;  // some bytes come from an earlier process
    bool changed_ = false;
    std::string validator_;  // the ETag of the answer that the bytes came from
    Sha256 sha256_;
};

Error Download::write_error(int code) const {
    if (!is_disk_full(code))
        return {ErrorCode::kIo,
                fmt::format("{}: cannot write {}: {}", target_.subject, target_.incomplete, std::strerror(code))};
    return {ErrorCode::kIo,
            fmt::format("{}: the disk is full after {} bytes; make room and pull again, it goes on from there",
                        target_.subject, have_)};
}

// What an earlier attempt left is read once, for the checksum.
Status Download::open() {
    file_.fd = ::open(target_.incomplete.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file_.fd < 0) return std::unexpected(write_error(errno));
    size_ = target_.size;
    std::vector<uint8_t> buffer(kReadBytes);
    while (true) {
        const ssize_t n = ::pread(file_.fd, buffer.data(), buffer.size(), off_t(have_));
        if (n < 0) return fail(ErrorCode::kIo, "{}: cannot read: {}", target_.incomplete, std::strerror(errno));
        if (n == 0) break;
        if (!target_.sha256.empty()) sha256_.update(buffer.data(), size_t(n));
        have_ += uint64_t(n);
        if (size_ > 0 && have_ > size_) return start_again("what an earlier attempt left is larger than the file");
    }
    from_before_ = have_ > 0;
    return {};
}

Status Download::start_again(const std::string& why) {
    if (have_ > 0) note_(fmt::format("{}: {}; starting it again", target_.subject, why));
    if (::ftruncate(file_.fd, 0) != 0) return std::unexpected(write_error(errno));
    have_ = 0;
    from_before_ = false;
    sha256_ = Sha256();
    validator_.clear();
    return {};
}

Status Download::check_space() const {
    const uint64_t free = free_bytes(target_.incomplete.substr(0, target_.incomplete.rfind('/')));
    if (size_ > have_ && free > 0 && size_ - have_ > free)
        return fail(ErrorCode::kIo,
                    "{}: {} bytes are still to come, the disk has room for {}; make room and pull again",
                    target_.subject, size_ - have_, free);
    return {};
}

// The headers of a successful answer have come.
Status Download::begin_body(const HttpResponse& response) {
    const std::string etag = response.header("etag");
    const bool changed = have_ > 0 && !validator_.empty() && !etag.empty() && etag != validator_;
    if (changed) {
        changed_ = true;
        return fail(ErrorCode::kCancelled, "{}: has changed on the server", target_.subject);
    }
    const bool partial = response.status == 206;
    if (have_ > 0 && !partial) {
        STERNA_CHECK(start_again("the server sends it from the beginning"));
    } else if (partial && stated_first_byte(response) != have_) {
        return fail(ErrorCode::kBadFile,
                    "{}: the server answers with another part than the one asked for, from byte {}", target_.subject,
                    have_);
    }
    validator_ = target_.may_change || etag.starts_with("W/") ? std::string() : etag;
    const uint64_t length = stated_length(response);
    if (length > RepoLimits::kMaxFileBytes)
        return fail(ErrorCode::kLimit, "{}: the server states {} bytes, at most {} are taken", target_.subject, length,
                    RepoLimits::kMaxFileBytes);
    if (size_ == 0) size_ = length;
    if (length > 0 && length != size_)
        return fail(ErrorCode::kBadFile, "{}: the server states {} bytes, the file has {}", target_.subject, length,
                    size_);
    return check_space();
}

Status Download::take(Bytes bytes) {
    const uint64_t limit = size_ > 0 ? size_ : RepoLimits::kMaxFileBytes;
    if (bytes.size() > limit - have_)
        return fail(ErrorCode::kBadFile, "{}: the server sends more than the {} bytes of the file", target_.subject,
                    limit);
    if (!target_.sha256.empty()) sha256_.update(bytes);
    while (!bytes.empty()) {
        const ssize_t n = ::pwrite(file_.fd, bytes.data(), bytes.size(), off_t(have_));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return std::unexpected(write_error(n < 0 ? errno : ENOSPC));
        have_ += uint64_t(n);
        bytes = bytes.subspan(size_t(n));
    }
    retry_.progressed();
    progress_(have_);
    return {};
}

Status Download::fetch(const std::function<Error(const HttpResponse&)>& explain) {
    HttpSink sink{[this](const HttpResponse& response) { return begin_body(response); },
                  [this](Bytes bytes) { return take(bytes); }};
    bool whole = size_ > 0 && have_ == size_;
    while (!whole) {
        STERNA_CHECK(check_space());
        HttpRequest request;
        request.url = target_.url;
        request.token = target_.token;
        request.first_byte = have_;
        request.if_range = validator_;
        STERNA_TRY(response, http_.send(request, &sink));
        if (response.ok()) {
            whole = size_ == 0 || have_ == size_;
            if (!whole &&
                !retry_.again(target_.subject, fmt::format("the connection ended after {} of {} bytes", have_, size_)))
                return fail(ErrorCode::kIo, "{}: only {} of {} bytes came; pull again, it goes on from there",
                            target_.subject, have_, size_);
            continue;
        }
        if (response.status == 416 && response.failure.empty() && have_ > 0) {
            STERNA_CHECK(start_again("the server has nothing behind what is here"));
            if (!retry_.again(target_.subject, "the server answers 416")) return std::unexpected(explain(response));
            continue;
        }
        if (retry_.again(target_.subject, response)) continue;
        Error error = explain(response);
        if (have_ > 0) error.message += fmt::format("; {} bytes are here, the next pull goes on from there", have_);
        return std::unexpected(std::move(error));
    }
    return {};
}

Result<std::string> Download::sha1_of_file() const {
    Sha1 sha1;
    const std::string header = fmt::format("blob {}", have_);
    sha1.update(header.c_str(), header.size() + 1);  // git counts the 0 behind it
    std::vector<uint8_t> buffer(kReadBytes);
    for (uint64_t at = 0; at < have_;) {
        const ssize_t n = ::pread(file_.fd, buffer.data(), buffer.size(), off_t(at));
        if (n <= 0) return fail(ErrorCode::kIo, "{}: cannot read: {}", target_.incomplete, std::strerror(errno));
        sha1.update(buffer.data(), size_t(n));
        at += uint64_t(n);
    }
    return hex_text(sha1.finish());
}

// Whether the bytes are those of the file. On a part of an earlier process that does not fit: starts again and says no.
Result<bool> Download::is_right() {
    std::string found, wanted;
    const char* kind = "SHA-256";
    if (!target_.sha256.empty()) {
        wanted = target_.sha256;
        found = hex_text(sha256_.finish());
        sha256_ = Sha256();
    } else if (!target_.git_sha1.empty()) {
        wanted = target_.git_sha1;
        kind = "git SHA-1";
        STERNA_TRY(sha1, sha1_of_file());
        found = sha1;
    }
    if (found == wanted) return true;
    if (from_before_) {
        STERNA_CHECK(start_again("with what an earlier attempt left the checksum is wrong"));
        return false;
    }
    ::unlink(target_.incomplete.c_str());
    return fail(ErrorCode::kBadFile, "{}: the {} is {}, the hub states {}; what came has been thrown away",
                target_.subject, kind, found, wanted);
}

Status Download::finish() {
    if (::fdatasync(file_.fd) != 0 && errno != EINVAL) return std::unexpected(write_error(errno));
    if (::rename(target_.incomplete.c_str(), target_.path.c_str()) != 0)
        return fail(ErrorCode::kIo, "{}: cannot name the file: {}", target_.path, std::strerror(errno));
    return {};
}

Result<DownloadEnd> Download::run(const std::function<Error(const HttpResponse&)>& explain) {
    STERNA_CHECK(open());
    progress_(have_);
    while (true) {
        if (auto fetched = fetch(explain); !fetched) {
            if (!changed_) return std::unexpected(std::move(fetched).error());
            ::unlink(target_.incomplete.c_str());
            return DownloadEnd::kChanged;
        }
        STERNA_TRY(right, is_right());
        if (right) break;
    }
    STERNA_CHECK(finish());
    return DownloadEnd::kDone;
}

}  // namespace

Result<DownloadEnd> download(Http& http, const HubSettings& settings, const DownloadTarget& target,
                             const std::function<void(uint64_t)>& progress, const Note& note,
                             const std::function<Error(const HttpResponse&)>& explain) {
    return Download(http, settings, target, progress, note).run(explain);
}

}  // namespace sterna
