"""Sums by slots of time: `slot_sums` has them by stack and thread, `highest_moments` the peak of each slot."""
