#include "train/net_kernels.h"

#include <string.h>
#if defined(STERNA_HAVE_AMX)
#include <cpuid.h>
#endif

#include "kernels/kernels.h"

namespace sterna::train {

extern const NetKernels kScalarNetKernels;
#if defined(STERNA_HAVE_AVX2)
extern const NetKernels kAvx2NetKernels, kAvx512NetKernels;
#endif
#if defined(STERNA_HAVE_AMX)
extern const GemmFn kAmxBf16Gemm;
#endif
#if defined(STERNA_HAVE_NEON)
extern const NetKernels kNeonNetKernels;
#endif

namespace {

const NetKernels* chosen_by_test = nullptr;

#if defined(STERNA_HAVE_AMX)
// A product that fills no tile has the scalar table's bits. Like the self-test of src/kernels: against a CPU or an emulator
// whose instruction does not add up as it is said to.
bool same_as_scalar(GemmFn gemm) {
    constexpr int64_t kRows = 19, kColumns = 23, kTerms = 77, kWide = round_up(kColumns, kPanelColumns);
    float a[kRows * kTerms], b[kTerms * kWide], expected[kRows * kColumns], got[kRows * kColumns];
    uint32_t state = 1;
    auto fill = [&](float* values, int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
            state = state * 1664525u + 1013904223u;
            const uint32_t bits = (state & 0x83ff0000u) + 0x3e000000u;  // of bfloat16 numbers, 1/8 to 32
            memcpy(&values[i], &bits, sizeof bits);
        }
    };
    fill(a, kRows * kTerms);
    fill(b, kTerms * kWide);
    GemmArgs args = rows_times(a, kTerms, kRows, kTerms, b, kColumns, expected);
    kScalarNetKernels.gemm_bf16(args);
    args.c = got;
    gemm(args);
    return memcmp(expected, got, sizeof expected) == 0;
}

// For a CPU whose tile registers src/kernels was given.
const NetKernels* amx_table() {
    static const NetKernels table = [] {
        NetKernels result = kAvx512NetKernels;
        uint32_t a, b, c, d;
        const bool bf16 = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1);
        if (!bf16 || !same_as_scalar(kAmxBf16Gemm)) return result;
        result.name = "amx";
        result.gemm_bf16 = kAmxBf16Gemm;
        return result;
    }();
    return &table;
}
#endif

// The table for what src/kernels calls `name`, which has asked the CPU and the operating system; FMA comes on top.
const NetKernels* table_for(const char* name) {
#if defined(STERNA_HAVE_AVX2)
    if (__builtin_cpu_supports("fma")) {
        if (strcmp(name, "avx2") == 0) return &kAvx2NetKernels;
        if (strcmp(name, "avx512") == 0) return &kAvx512NetKernels;
#if defined(STERNA_HAVE_AMX)
        if (strcmp(name, "amx") == 0) return amx_table();
#else
        if (strcmp(name, "amx") == 0) return &kAvx512NetKernels;
#endif
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
