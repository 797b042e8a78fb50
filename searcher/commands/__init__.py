"""The commands of the command line, by what they work on. Nothing heavy is imported before a command needs it."""
