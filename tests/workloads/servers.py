"""
Servers in Python whose truth is known: SHAPE N, run with PYTHONMALLOC=malloc.

`leak` keeps a bytearray in every request, `lru` the latest 150 of them, `startup` the first fifty;
`cycle` loses one in a cycle while nothing is collected, `collected` has them collected now and then; `list`
keeps one list.
"""

import gc
import sys
import time
from collections import OrderedDict

shape, n_requests = sys.argv[1], int(sys.argv[2])
kept: OrderedDict[int, bytearray] = OrderedDict()
numbers: list[int] = []


class Node:
    """What refers to itself."""

    def __init__(self) -> None:
        self.content = bytearray(3000)
        self.itself = self


def keep(request: int) -> None:
    """Keep a block that is told by its size."""
    kept[request] = bytearray(3000)


gc.disable()
for request in range(n_requests):
    text = str(list(range(request % 50)))
    if shape in ("cycle", "collected"):
        Node()
        if shape == "collected" and request % 130 == 129:
            gc.collect()
    elif shape == "list":
        numbers.append(request % 100)
    elif shape != "startup" or request < 50:
        keep(request)
    if shape == "lru" and len(kept) > 150:
        kept.popitem(last=False)
    time.sleep(0.005)
