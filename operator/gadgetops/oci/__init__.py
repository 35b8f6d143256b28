"""OCI content: references, descriptors, layouts, the local store. Knows nothing of gadgets."""
