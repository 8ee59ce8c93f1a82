"""The rules by which each operation accepts or refuses a call."""
