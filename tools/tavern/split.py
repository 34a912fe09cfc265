"""Random numbers that are the same everywhere, and the rule that parts training from tests."""

import random
import zlib

HELD_OUT_ONE_IN = 16


def held_out(key):
    """Whether a combination ("good|beer|3", "pair|apple|beer", ...) belongs to the tests: training never contains it.

    CRC-32 of the key's UTF-8 bytes, modulo 16, is 0.
    """
    return zlib.crc32(key.encode()) % HELD_OUT_ONE_IN == 0


class Rng:
    """Only random() of Python's generator is used: its sequence for a seed is the one that Python promises to keep."""

    def __init__(self, seed):
        self.random = random.Random(seed).random

    def below(self, n):
        return int(self.random() * n)

    def between(self, low, high):
        return low + int(self.random() * (high - low + 1))

    def chance(self, p):
        return self.random() < p

    def pick(self, items):
        return items[int(self.random() * len(items))]

    def weighted(self, pairs):
        """pairs: (value, weight)."""
        x = self.random() * sum(weight for _, weight in pairs)
        for value, weight in pairs:
            x -= weight
            if x < 0:
                return value
        return pairs[-1][0]

    def sample(self, items, n):
        """n different items in random order."""
        items = list(items)
        n = min(n, len(items))
        for i in range(n):
            j = i + int(self.random() * (len(items) - i))
            items[i], items[j] = items[j], items[i]
        return items[:n]
