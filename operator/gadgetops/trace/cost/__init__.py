"""What a recording costs its target: counted beforehand, kept within a budget, ended where it must be."""
