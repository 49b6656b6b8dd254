"""Devices that are somewhere else: how to reach them, and the conversation with the agent there."""
