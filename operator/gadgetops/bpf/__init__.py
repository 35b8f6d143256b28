"""BPF objects: ELF and BTF read into facts, facts into graphs, graphs into Mermaid. Bytes in, values out."""
