"""Boards that rank only what is comparable, and show as ties what cannot be told apart."""
