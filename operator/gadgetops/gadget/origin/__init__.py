"""How an image was made, and from what: materials, provenance (SLSA), the bill of materials (CycloneDX)."""
