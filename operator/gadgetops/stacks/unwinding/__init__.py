"""From copies of stacks to return addresses: by frame pointers, by rules of `.eh_frame`, by libdw."""
