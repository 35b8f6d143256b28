"""The recording format: schema, writer, reader."""
