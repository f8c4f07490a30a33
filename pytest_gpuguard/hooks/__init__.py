"""The only package that speaks pytest: hooks translate its words into ours and delegate."""
