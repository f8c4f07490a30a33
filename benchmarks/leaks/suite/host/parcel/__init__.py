"""A package, whose fixtures live as long as its tests."""
