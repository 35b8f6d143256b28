"""
From bytes of a stack to named frames: unwinding by CFI, by libdw or by frame pointers, then symbols.

Everything here works on a finished recording, on any machine: no kernel, no privileges, no target process.
`trace` records what this package reads; it never imports `trace`.
"""
