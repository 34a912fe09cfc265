#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/unpack: one input of unpack_fuzz.cpp for each way of packing, and a few wrong ones."""
from pathlib import Path

NAMES = ['m.qweight', 'm.qzeros', 'm.scales', 'm.g_idx', 'm.weight_packed', 'm.weight_scale', 'm.weight_shape', 'm.weight_g_idx',
         'm.weight', 'm.weight_zero_point', 'm.weight_scale_inv', 'm.weight_scale_2', 'm_blocks', 'm_scales',
         'm.weight_global_scale', 'm.input_scale', 'n.weight', 'n.weight_scale', 'n.k_scale']
TYPES = ['F64', 'F32', 'F16', 'BF16', 'E4M3', 'E5M2', 'E8M0', 'I64', 'I32', 'I16', 'I8', 'U64', 'U32', 'U16', 'U8', 'BOOL']
METHODS = ['', 'gptq', 'awq', 'fp8', 'compressed-tensors', 'bitnet', 'auto-round', 'mxfp4']
BITS = bytes(range(1, 252, 10)) + b'\x88\xff\x00'       # 29 bytes: no period of a row
HALVES = bytes([0x00, 0x3c, 0x9a, 0x2e, 0x01, 0x80])     # 1, 0.1, -6e-8
FLOATS = bytes([0, 0, 0x80, 0x3f, 0xcd, 0xcc, 0xcc, 0x3d])  # 1, 0.1


def extent(n):
    if n < 200:
        return n
    if n % 16 == 0 and n // 16 < 50:
        return 200 + n // 16
    return {1 << 20: 250, 1 << 62: 255}[n]


def tensor(name, kind, shape, data):
    return bytes([NAMES.index(name), TYPES.index(kind), len(shape), *map(extent, shape), len(data)]) + data


def config(method, flags=0, group=32, block=(0, 0)):
    return bytes([METHODS.index(method), flags, group, *block])


def words(*numbers, width=8):
    return b''.join(n.to_bytes(width, 'little', signed=True) for n in numbers)


def gptq(bits, outputs=32, inputs=64, group=32):
    return (tensor('m.qweight', 'I32', [inputs * bits // 32, outputs], BITS) +
            tensor('m.qzeros', 'I32', [inputs // group, outputs * bits // 32], BITS) +
            tensor('m.scales', 'F16', [inputs // group, outputs], HALVES))


def compressed(bits, outputs=7, inputs=48, groups=3):
    return (tensor('m.weight_packed', 'I32', [outputs, -(-inputs * bits // 32)], BITS) +
            tensor('m.weight_scale', 'BF16', [outputs, groups], HALVES) +
            tensor('m.weight_shape', 'I64', [2], words(outputs, inputs)))


CORPUS = {
    **{f'gptq_{bits}': config('gptq') + gptq(bits) for bits in (2, 3, 4, 8)},
    'gptq_v2_order': config('gptq', flags=1) + gptq(4) + tensor('m.g_idx', 'I32', [64], words(1, 0, 0, 1, 1, width=4)),
    'gptq_no_group': config('gptq') + gptq(4) + tensor('m.g_idx', 'I32', [64], words(1, 0, 2, width=4)),
    'gptq_no_inputs': config('gptq') + tensor('m.qweight', 'I32', [0, 1 << 62], b'') +
                      tensor('m.qzeros', 'I32', [0, 1 << 62], b'') + tensor('m.scales', 'F16', [0, 1 << 62], b''),
    'mxfp4_no_rows': config('') + tensor('m.weight_packed', 'U8', [0, 1 << 62], b'') +
                     tensor('m.weight_scale', 'U8', [0, 1 << 62], b''),
    'awq': config('awq') + tensor('m.qweight', 'I32', [64, 4], BITS) + tensor('m.qzeros', 'I32', [2, 4], BITS) +
           tensor('m.scales', 'F16', [2, 32], HALVES),
    **{f'compressed_{bits}': config('compressed-tensors') + compressed(bits) for bits in (4, 8, 3)},
    'compressed_zeros': config('compressed-tensors') + compressed(4) + tensor('m.weight_zero_point', 'I32', [1, 3], BITS),
    'compressed_wide': config('compressed-tensors') + tensor('m.weight_packed', 'I32', [2, 1], BITS) +
                       tensor('m.weight_scale', 'F32', [2, 1], FLOATS) + tensor('m.weight_shape', 'I64', [2], words(2, 1 << 60)),
    'fp8_one': config('fp8') + tensor('m.weight', 'E4M3', [6, 10], BITS) + tensor('m.weight_scale', 'F32', [], FLOATS),
    'fp8_rows': config('fp8') + tensor('m.weight', 'E5M2', [6, 10], BITS) + tensor('m.weight_scale', 'F32', [6, 1], FLOATS),
    'fp8_blocks': config('fp8', flags=4, block=(4, 8)) + tensor('m.weight', 'E4M3', [6, 20], BITS) +
                  tensor('m.weight_scale_inv', 'F32', [2, 3], FLOATS),
    'fp8_stack': config('fp8', flags=4, block=(4, 8)) + tensor('m.weight', 'E4M3', [3, 8, 16], BITS) +
                 tensor('m.weight_scale_inv', 'E8M0', [3, 2, 2], BITS),
    'fp8_long_block': config('fp8', flags=4, block=(127, 128)) + tensor('m.weight', 'E4M3', [6, 20], BITS) +
                      tensor('m.weight_scale_inv', 'F32', [2, 3], FLOATS),
    'int8_zeros': config('compressed-tensors') + tensor('m.weight', 'I8', [6, 10], BITS) +
                  tensor('m.weight_scale', 'F32', [6, 1], FLOATS) + tensor('m.weight_zero_point', 'I8', [6, 1], BITS),
    'mxfp4_experts': config('mxfp4') + tensor('m_blocks', 'U8', [2, 5, 2, 16], BITS) + tensor('m_scales', 'U8', [2, 5, 2], BITS),
    'mxfp4_rows': config('compressed-tensors') + tensor('m.weight_packed', 'U8', [3, 32], BITS) +
                  tensor('m.weight_scale', 'U8', [3, 2], BITS),
    'nvfp4': config('compressed-tensors') + tensor('m.weight_packed', 'U8', [3, 16], BITS) +
             tensor('m.weight_scale', 'E4M3', [3, 2], BITS) + tensor('m.weight_global_scale', 'F32', [1], FLOATS[4:]),
    'nvfp4_modelopt': config('') + tensor('m.weight', 'U8', [3, 16], BITS) + tensor('m.weight_scale', 'E4M3', [3, 2], BITS) +
                      tensor('m.weight_scale_2', 'F32', [], FLOATS[4:]) + tensor('m.input_scale', 'F32', [], FLOATS),
    'bitnet': config('bitnet') + tensor('m.weight', 'U8', [3, 256], BITS) + tensor('m.weight_scale', 'BF16', [1], HALVES[:2]),
    'bitnet_auto': config('bitnet', flags=2) + tensor('m.weight', 'U8', [2, 24], BITS) +
                   tensor('m.weight_scale', 'F32', [1], FLOATS[4:]),
}

folder = Path(__file__).parent / 'corpus' / 'unpack'
folder.mkdir(parents=True, exist_ok=True)
for name, data in CORPUS.items():
    (folder / name).write_bytes(data)
print(len(CORPUS), 'files,', sum(map(len, CORPUS.values())), 'bytes')
