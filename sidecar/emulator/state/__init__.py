"""What the emulator knows, and how that survives a restart."""
