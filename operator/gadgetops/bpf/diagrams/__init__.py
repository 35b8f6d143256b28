"""What programs do with maps, and drawings of that."""
