// Memory of a trainer: arrays that start on a cache line and are made once. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace sterna::train {

template <typename T>
class Buffer {
public:
    Buffer() = default;
    // Not initialized, so pages that no batch needs are never touched. Throws std::bad_alloc.
    explicit Buffer(int64_t n)
        : data_(static_cast<T*>(::operator new(size_t(n > 0 ? n : 1) * sizeof(T), kAlignment))), size_(n) {}

    T* data() const { return data_.get(); }
    int64_t size() const { return size_; }

private:
    static constexpr std::align_val_t kAlignment{64};
    struct Free {
        void operator()(T* p) const { ::operator delete(p, kAlignment); }
    };
    std::unique_ptr<T, Free> data_;
    int64_t size_ = 0;
};

}  // namespace sterna::train
