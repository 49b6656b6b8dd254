"""`--json` and `--quiet` before the command's name."""


class Everywhere:
    """What the root was given; each command adds its own."""

    json = False
    quiet = False
