"""
Servers in Python whose truth is known: SHAPE N, run with PYTHONMALLOC=malloc.

`leak` keeps a bytearray in every request, `lru` the latest 150 of them, `startup` the first fifty.
"""

import sys
import time
from collections import OrderedDict

shape, n_requests = sys.argv[1], int(sys.argv[2])
kept: OrderedDict[int, bytearray] = OrderedDict()


def keep(request: int) -> None:
    """Keep a block that is told by its size."""
    kept[request] = bytearray(3000)


for request in range(n_requests):
    text = str(list(range(request % 50)))
    if shape != "startup" or request < 50:
        keep(request)
    if shape == "lru" and len(kept) > 150:
        kept.popitem(last=False)
    time.sleep(0.005)
