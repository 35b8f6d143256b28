"""Verbs about images of the store, about gadgets' sources, and about documents made of them."""
