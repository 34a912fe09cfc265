// The kernel tables that a test compares with scalar: those of this CPU, and those that an emulation makes possible.
#pragma once

#include <iterator>
#include <vector>

#include "kernels/kernels.h"

namespace sterna::kernels {

#ifdef STERNA_HAVE_EMULATED_AVX512
extern const Kernels kAvx512Emulated;
extern const MatmulFn kAmxEmulatedMatmul[int(WeightKind::kCount)];
#endif

inline std::vector<const Kernels*> tested_tables() {
    std::vector<const Kernels*> tables(all().tables, all().tables + all().n);
#ifdef STERNA_HAVE_EMULATED_AVX512
    tables.push_back(&kAvx512Emulated);
    static const Kernels amx = [] {
        Kernels table = kAvx512Emulated;
        table.name = "amx (emulated)";
        for (size_t kind = 0; kind < std::size(table.matmul); ++kind)
            if (kAmxEmulatedMatmul[kind]) table.matmul[kind] = kAmxEmulatedMatmul[kind];
        return table;
    }();
    tables.push_back(&amx);
#endif
    return tables;
}

}  // namespace sterna::kernels
