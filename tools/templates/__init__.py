"""The example workflows, written from a short description of each."""
