"""Sums by slots of time: `slot_sums` by stack and thread, `highest_moments` the peak of each slot."""
