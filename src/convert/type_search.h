// Types for a given size: what each matrix loses at each type is measured, and bytes go where they save the most.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/result.h"
#include "base/thread_pool.h"
#include "convert/importance.h"
#include "convert/type_plan.h"

namespace sterna {

struct TypeSearchOptions {
    uint64_t n_bytes = 0;   // of all tensors together, and
    uint64_t n_beside = 0;  // of everything else in the file
    PlanOptions rules;      // overrides are obeyed
    const Importance* importance = nullptr;
    const std::atomic<bool>* cancel = nullptr;
};

// Errors: kLimit when even the smallest types do not fit.
Result<TypePlan> search_types(const ModelSource& source, ThreadPool& pool, const TypeSearchOptions& options);

}  // namespace sterna
