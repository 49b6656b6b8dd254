"""Classifies images on this device: python3 run.py IMAGE... (PNG, JPEG, or .npy of uint8 pixels, 3 x H x W)."""
import argparse
import io
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
WRONG = 2  # as edge-se ends where a user can mend something

if sys.version_info < (3, 8):  # noqa: UP036 - the agent's first line is a syntax error there
    sys.stderr.write("error: python3 here is {}.{}; 3.8 or later is needed\n".format(*sys.version_info))
    sys.exit(WRONG)
sys.path.insert(0, str(FOLDER / "agent.pyz"))
try:
    from agent import AgentError, Bundle
except ImportError as missing:
    sys.stderr.write(f"error: {missing}; numpy is needed (sudo apt install python3-numpy), and agent.pyz beside this\n")
    sys.exit(WRONG)


def note(words: str) -> None:
    """Tells at once, beside the answers."""
    sys.stderr.write(f"note: {words}\n")
    sys.stderr.flush()


def main() -> int:
    """A line for each image; one that cannot be read is told on stderr, and the others are classified."""
    parser = argparse.ArgumentParser(description="Classifies images with the best file that runs here.")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="PNG, JPEG, or .npy of uint8 pixels (3, H, W)")
    given, code = parser.parse_args(), 0
    if isinstance(sys.stdout, io.TextIOWrapper):  # a locale without the letters of a label must not end it
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        bundle = Bundle(str(FOLDER), tell=note)
    except AgentError as error:
        sys.stderr.write(f"error: {error}\n")
        return WRONG
    for words in bundle.notes:
        note(words)
    print(f"{bundle.file} in {bundle.runtime}", flush=True)
    for path in given.images:
        try:
            print(f"{path}: {bundle.label(bundle.run(bundle.read_image(path))[0])}", flush=True)
        except AgentError as error:
            sys.stderr.write(f"error: {error}\n")
            code = WRONG
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
