"""
Allocations and the releases that ended them: made once, segment by segment, kept beside the recording.

It gives views for `questions` to read, and knows none of them.
"""
