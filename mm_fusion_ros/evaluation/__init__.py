"""Measures: the exam, the benches, and what makes their figures."""
