// Which table runs: what this build has and this CPU can do, best first; STERNA_ISA overrides.
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/layout.h"

#if defined(STERNA_HAVE_AVX2)
#include <cpuid.h>
#endif
#if defined(STERNA_HAVE_AMX) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(STERNA_HAVE_NEON) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace sterna::kernels {

extern const Kernels kScalarKernels;
#if defined(STERNA_HAVE_AVX2)
extern const Kernels kAvx2Kernels, kAvx512Kernels;
#endif
#if defined(STERNA_HAVE_AMX)
extern const MatmulFn kAmxMatmul[int(WeightKind::kCount)];  // null: the AVX-512 entry stays
#endif
#if defined(STERNA_HAVE_NEON)
extern const Kernels kNeonKernels, kNeonDotKernels;
#endif
#if defined(STERNA_HAVE_WASM)
extern const Kernels kWasmKernels;
#endif

namespace {

#if defined(STERNA_HAVE_AVX2)
struct Cpu {
    bool avx2 = false, avx512 = false, amx = false;
};

// Linux gives the tile registers to a process that asks for them, for all of its threads. Refused where the kernel is
// older than 5.16, or where a thread has a signal stack too small to save them.
bool may_use_tiles() {
#if defined(STERNA_HAVE_AMX) && defined(__linux__)
    constexpr long kArchReqXcompPerm = 0x1023, kXfeatureXtiledata = 18;
    return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtiledata) == 0;
#else
    return false;
#endif
}

// A register file may be used only if the CPU has it and the operating system saves it (XCR0).
Cpu probe() {
    Cpu cpu;
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return cpu;
    const bool osxsave = c >> 27 & 1, f16c = c >> 29 & 1;
    if (!osxsave) return cpu;
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    const bool saves_ymm = (low & 0x6) == 0x6, saves_zmm = (low & 0xe6) == 0xe6, saves_tiles = (low >> 17 & 3) == 3;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return cpu;
    const bool avx2 = b >> 5 & 1, f = b >> 16 & 1, dq = b >> 17 & 1, bw = b >> 30 & 1, vl = b >> 31 & 1,
               vnni = c >> 11 & 1, amx_tile = d >> 24 & 1, amx_int8 = d >> 25 & 1;
    cpu.avx2 = saves_ymm && avx2 && f16c;
    cpu.avx512 = cpu.avx2 && saves_zmm && f && dq && bw && vl && vnni;
    cpu.amx = cpu.avx512 && saves_tiles && amx_tile && amx_int8 && may_use_tiles();
    return cpu;
}
#endif

// A product of 16 rows and 256 columns for 1, 9 and (AMX, whose tiles take 16) 17 tokens, of a kind of each sort, has
// the scalar table's bits. Catches a CPU, an emulator or a hypervisor whose instructions do not do what they are said
// to; takes well under a millisecond.
constexpr int kTestCols = 256, kTestTokens = 17;

struct SelfTest {
    alignas(64) uint8_t weights[kTestCols * kPanelRows * 4];
    alignas(64) float x[kTestTokens * kTestCols];
    int8_t q[kTestTokens * kTestCols];
    float scales[kTestTokens * kTestCols / 32];
    int16_t sums[kTestTokens * kTestCols / 16];
    float expected[kTestTokens * kPanelRows], got[kTestTokens * kPanelRows];
    alignas(64) uint8_t scratch[kMatmulScratchBytes];

    void multiply(const Kernels& table, WeightKind kind, int n_tokens, float* out) {
        const bool wide = act_kind(kind) == ActKind::kQ8_256;
        const int n_scales = kTestCols / (wide ? 256 : 32), n_sums = kTestCols / (wide ? 16 : 32);
        for (int t = 0; t < n_tokens; ++t) {
            (wide ? table.quantize_q8_256 : table.quantize_q8_32)(x + t * kTestCols, kTestCols, q + t * kTestCols,
                                                                  scales + t * n_scales, sums + t * n_sums);
        }
        table.matmul[int(kind)]({weights,
                                 panel_bytes(kind, kTestCols),
                                 0,
                                 1,
                                 kPanelRows,
                                 kTestCols,
                                 {x, q, scales, sums, n_scales, n_sums},
                                 n_tokens,
                                 out,
                                 kPanelRows,
                                 scratch});
    }

    bool same(const Kernels& table, const Kernels& reference, int most_tokens) {
        uint32_t state = 1;
        auto next = [&] { return (state = state * 1664525u + 1013904223u) >> 16; };
        for (float& value : x) value = float(int(next() & 0xffff) - 32768) * 0x1p-14f;
        constexpr WeightKind kKinds[] = {WeightKind::kQ8_0, WeightKind::kQ4_0,   WeightKind::kQ4_K,
                                         WeightKind::kQ6_K, WeightKind::kIQ4_XS, WeightKind::kTQ2_0};
        for (WeightKind kind : kKinds) {
            const int64_t n_blocks = kTestCols / layout_of(kind).block_cols, halves = halves_offset(kind, n_blocks);
            for (int64_t i = 0; i < halves; ++i) weights[i] = uint8_t(next());
            // Halves between 2^-9 and 2^-5; as IQ4_XS's scale bits any value serves.
            for (int64_t i = halves; i < panel_bytes(kind, kTestCols); i += 2)
                weights[i] = uint8_t(next()), weights[i + 1] = uint8_t(0x18 + next() % 16);
            for (int n_tokens = 1; n_tokens <= most_tokens; n_tokens += 8) {
                multiply(reference, kind, n_tokens, expected);
                multiply(table, kind, n_tokens, got);
                if (memcmp(expected, got, size_t(n_tokens) * kPanelRows * sizeof(float)) != 0) return false;
            }
        }
        return true;
    }
};

constexpr int kMaxTables = 8;

struct Choice {
    Kernels amx = {};  // the AVX-512 table with entries replaced
    const Kernels* tables[kMaxTables];
    int n = 0;
    const Kernels* active = nullptr;
    char error[240] = "";

    Choice() {
        tables[n++] = &kScalarKernels;
#if defined(STERNA_HAVE_AVX2)
        const Cpu cpu = probe();
        if (cpu.avx2) add(kAvx2Kernels);
        if (cpu.avx512) add(kAvx512Kernels);
#if defined(STERNA_HAVE_AMX)
        if (cpu.amx) {
            amx = kAvx512Kernels;
            amx.name = "amx";
            for (int kind = 0; kind < int(WeightKind::kCount); ++kind)
                if (kAmxMatmul[kind]) amx.matmul[kind] = kAmxMatmul[kind];
            add(amx, kTestTokens);
        }
#endif
#endif
#if defined(STERNA_HAVE_NEON)
        add(kNeonKernels);
#if defined(__linux__)
        constexpr unsigned long kDotProduct = 1ul << 20;  // HWCAP_ASIMDDP
        if (getauxval(AT_HWCAP) & kDotProduct) add(kNeonDotKernels);
#endif
#endif
#if defined(STERNA_HAVE_WASM)
        add(kWasmKernels);
#endif
        active = tables[n - 1];
        if (const char* wanted = getenv("STERNA_ISA"); wanted && *wanted) choose(wanted);
    }

    void add(const Kernels& table, int most_tokens = 9) {
        auto* test = static_cast<SelfTest*>(aligned_alloc(64, (sizeof(SelfTest) + 63) / 64 * 64));
        if (!test) return;
        if (test->same(table, kScalarKernels, most_tokens)) {
            tables[n++] = &table;
        } else {
            append(table.name);
            append(": wrong results on this CPU, not used. ");
        }
        free(test);
    }

    const Kernels* find(const char* name) const {
        for (int i = 0; i < n; ++i)
            if (strcmp(tables[i]->name, name) == 0) return tables[i];
        return nullptr;
    }

    void append(const char* text) { strncat(error, text, sizeof error - strlen(error) - 1); }

    void choose(const char* wanted) {
        if (const Kernels* table = find(wanted)) {
            active = table;
            return;
        }
        char name[32] = "";
        strncat(name, wanted, sizeof name - 1);
        append("STERNA_ISA: no instruction set ");
        append(name);
        append(" on this machine, expected one of");
        for (int i = 0; i < n; ++i) append(i ? ", " : " "), append(tables[i]->name);
    }
};

const Choice& choice() {
    static const Choice only;
    return only;
}

}  // namespace

ActKind act_kind(WeightKind kind) {
    switch (kind) {
        case WeightKind::kF32:
        case WeightKind::kF16:
        case WeightKind::kBF16:
            return ActKind::kF32;
        case WeightKind::kQ8_0:
        case WeightKind::kQ4_0:
        case WeightKind::kQ4_1:
        case WeightKind::kQ5_0:
        case WeightKind::kQ5_1:
        case WeightKind::kIQ4_NL:
        case WeightKind::kMXFP4:
            return ActKind::kQ8_32;
        default:
            return ActKind::kQ8_256;
    }
}

const Kernels& active() {
    return *choice().active;
}
const char* isa_error() {
    return choice().error[0] ? choice().error : nullptr;
}
KernelList all() {
    return {choice().tables, choice().n};
}
const Kernels* by_name(const char* name) {
    return choice().find(name);
}

}  // namespace sterna::kernels
