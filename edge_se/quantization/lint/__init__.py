"""What runtimes do with Q/DQ files against all good guesses: found without running a file, proven by running it."""
