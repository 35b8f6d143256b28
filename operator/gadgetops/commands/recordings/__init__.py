"""Verbs that make a recording, say what it holds, or write it in another form."""
