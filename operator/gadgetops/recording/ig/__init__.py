"""What `ig run` printed, as a recording: JSON lines, indented JSON and YAML, of a file or a pipe."""
