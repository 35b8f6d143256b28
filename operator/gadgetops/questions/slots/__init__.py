"""Numbers by slot of time: sums by stack and thread, highest moments, resident memory."""
