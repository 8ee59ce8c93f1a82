"""The services that act on what the domain decides, through its ports."""
