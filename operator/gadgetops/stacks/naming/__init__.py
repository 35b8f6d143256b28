"""From addresses to functions and lines: ELF symbols, DWARF wherever it lies, generated code."""
