"""What a message is: envelope, OIN, lifecycle, faults, events, and one folder per dienst. Imports nothing of ours."""
