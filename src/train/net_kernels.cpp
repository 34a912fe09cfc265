#include "train/net_kernels.h"

#include <string.h>

#include "kernels/kernels.h"

namespace sterna::train {

extern const NetKernels kScalarNetKernels;
#if defined(STERNA_HAVE_AVX2)
extern const NetKernels kAvx2NetKernels, kAvx512NetKernels;
#endif
#if defined(STERNA_HAVE_NEON)
extern const NetKernels kNeonNetKernels;
#endif

namespace {

const NetKernels* chosen_by_test = nullptr;

// The table for what src/kernels calls `name`, which has asked the CPU and the operating system; FMA comes on top.
const NetKernels* table_for(const char* name) {
#if defined(STERNA_HAVE_AVX2)
    if (__builtin_cpu_supports("fma")) {
        if (strcmp(name, "avx2") == 0) return &kAvx2NetKernels;
        if (strcmp(name, "avx512") == 0 || strcmp(name, "amx") == 0) return &kAvx512NetKernels;
    }
#endif
#if defined(STERNA_HAVE_NEON)
    if (strncmp(name, "neon", 4) == 0) return &kNeonNetKernels;
#endif
    (void)name;
    return &kScalarNetKernels;
}

}  // namespace

const NetKernels& active_kernels() {
    static const NetKernels* const table = table_for(kernels::active().name);
    return chosen_by_test ? *chosen_by_test : *table;
}

NetKernelList all_kernels() {
    NetKernelList list = {{&kScalarNetKernels}, 1};
    const kernels::KernelList usable = kernels::all();
    for (int i = 0; i < usable.n; ++i) {
        const NetKernels* table = table_for(usable.tables[i]->name);
        bool known = false;
        for (int j = 0; j < list.n; ++j) known = known || list.tables[j] == table;
        if (!known) list.tables[list.n++] = table;
    }
    return list;
}

void use_kernels(const NetKernels* table) {
    chosen_by_test = table;
}

}  // namespace sterna::train
