"""Machines: this one, or one behind an agent; how to reach it, and the conversation with the agent there."""
