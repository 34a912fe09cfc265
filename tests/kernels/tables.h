// The kernel tables that a test compares with scalar: those of this CPU, and those that an emulation makes possible.
#pragma once

#include <iterator>
#include <vector>

#include "kernels/kernels.h"

#ifdef STERNA_HAVE_EMULATED_AVX512
namespace sterna::kernels {
extern const Kernels kAvx512Emulated;
extern const MatmulFn kAmxEmulatedMatmul[int(WeightKind::kCount)];
}  // namespace sterna::kernels
#endif

namespace sterna::testing {

inline std::vector<const kernels::Kernels*> tested_tables() {
    const kernels::KernelList list = kernels::all();
    std::vector<const kernels::Kernels*> tables(list.tables, list.tables + list.n);
#ifdef STERNA_HAVE_EMULATED_AVX512
    tables.push_back(&kernels::kAvx512Emulated);
    static const kernels::Kernels amx = [] {
        kernels::Kernels table = kernels::kAvx512Emulated;
        table.name = "amx (emulated)";
        for (size_t kind = 0; kind < std::size(table.matmul); ++kind)
            if (kernels::kAmxEmulatedMatmul[kind]) table.matmul[kind] = kernels::kAmxEmulatedMatmul[kind];
        return table;
    }();
    tables.push_back(&amx);
#endif
    return tables;
}

}  // namespace sterna::testing
