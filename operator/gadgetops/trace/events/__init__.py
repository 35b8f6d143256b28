"""What comes out of the ring buffer: drained, decoded, and numbered as a recording needs it."""
