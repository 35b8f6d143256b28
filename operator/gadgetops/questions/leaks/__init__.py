"""What was never released: by stack, how it came about, what is suppressed, whether it keeps to a budget."""
