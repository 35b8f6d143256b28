"""This process's C library, for the few calls that Python lacks."""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
"""It, with `ctypes.get_errno()` set by each call."""
