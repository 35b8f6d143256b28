"""Tracing a process: what to attach to, the libbpf engine, the ring buffer, stacks, symbols."""
