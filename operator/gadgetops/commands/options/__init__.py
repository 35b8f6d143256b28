"""Options and arguments that verbs of several rooms have, each with what it means."""
