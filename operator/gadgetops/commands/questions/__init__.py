"""Verbs that ask a recording: options in, an answer out."""
