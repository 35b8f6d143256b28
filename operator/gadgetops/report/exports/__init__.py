"""Answers in the formats of other tools, a module each."""
