"""Gadgets: gadget.yaml and build.yaml, compiling, packing, inspecting."""
