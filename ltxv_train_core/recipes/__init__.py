"""Whole configurations proposed from a goal, a card's memory, a model and a data set, with reasons."""
