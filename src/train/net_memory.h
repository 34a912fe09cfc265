// Memory of a trainer: arrays that start on a cache line and are made once; large ones on pages of 2 MiB where Linux has
// them, because walking down the rows of a matrix otherwise misses the TLB with every row. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sterna::train {

template <typename T>
class Buffer {
public:
    Buffer() = default;
    // Not initialized, so pages that no batch needs are never touched. Throws std::bad_alloc.
    explicit Buffer(int64_t n) : data_(nullptr, Free{alignment(n)}), size_(n) {
        const size_t bytes = size_t(n > 0 ? n : 1) * sizeof(T);
        data_.reset(static_cast<T*>(::operator new(bytes, alignment(n))));
#if defined(__linux__)
        if (bytes >= kLargePage) madvise(data_.get(), bytes, MADV_HUGEPAGE);  // advice: a refusal changes nothing
#endif
    }

    T* data() const { return data_.get(); }
    int64_t size() const { return size_; }

private:
    static constexpr size_t kLargePage = size_t(1) << 21;
    static std::align_val_t alignment(int64_t n) {
        return std::align_val_t(uint64_t(n) * sizeof(T) >= kLargePage ? kLargePage : 64);
    }
    struct Free {
        std::align_val_t alignment{64};
        void operator()(T* p) const { ::operator delete(p, alignment); }
    };
    std::unique_ptr<T, Free> data_;
    int64_t size_ = 0;
};

}  // namespace sterna::train
