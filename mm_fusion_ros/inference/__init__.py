"""Runs networks: one interface, and the runtimes behind it."""
