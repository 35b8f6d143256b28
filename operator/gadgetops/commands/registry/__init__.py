"""Verbs that talk to registries, and those about keys and signatures."""
