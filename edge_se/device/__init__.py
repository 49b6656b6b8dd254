"""What is copied to a device."""
