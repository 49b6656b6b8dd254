"""One module per command: each turns arguments into one document. The command line parses, calls and prints."""
