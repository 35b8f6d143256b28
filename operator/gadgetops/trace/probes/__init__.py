"""Where probes go: an allocator's files, their functions, and the instruction to probe. No kernel."""
