"""Copying images from anywhere to anywhere: both ends, a choice of platforms, and the copy itself."""
