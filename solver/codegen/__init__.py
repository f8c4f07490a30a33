"""How a recipe becomes a program: the text that every backend shares, and its compilation for each."""
