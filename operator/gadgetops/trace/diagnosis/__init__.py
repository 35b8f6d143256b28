"""What can be recorded here, and what not: of the machine, and of one process."""
