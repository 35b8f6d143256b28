"""Record a running target: find its allocator, attach the gadget, read events. Needs a kernel and root."""
