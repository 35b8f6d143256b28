"""Signatures and attestations of images: made, attached, found and verified; keys included."""
