"""
gadget.yaml and the other documents: read with their lines, checked against schemas, and against the object.

It compiles nothing.
"""
