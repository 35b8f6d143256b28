"""The engine that needs no kernel: a library in the programs themselves, and the ring buffer they share."""
