"""All that talks to bpf(2) and libbpf: load an object, make its ring buffer, attach its programs."""
