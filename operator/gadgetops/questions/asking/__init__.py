"""
What all questions share: filters, groups, stacks by name, and how sure an answer is.

A module of it never imports a question.
"""
