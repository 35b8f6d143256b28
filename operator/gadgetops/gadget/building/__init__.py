"""
From source to image: what to build, headers, compilers, the cache, and packing.

It gives an OCI image; what an object means is `documents`' and `reading`'s to say.
"""
