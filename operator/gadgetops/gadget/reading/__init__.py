"""What is in an image or object: facts, extra infos as ig prints them, and what differs between two."""
