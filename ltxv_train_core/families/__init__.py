"""Model families: everything that differs from one to another."""
