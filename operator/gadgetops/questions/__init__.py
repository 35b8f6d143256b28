"""
Questions over a recording, a module each, and their SQL in the folder sql.

They give answers as data (`to_json()`), never text: that is `report`'s. They read what `pairing` made, and
know neither targets nor kernels nor images.
"""
