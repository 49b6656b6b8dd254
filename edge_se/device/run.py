"""Classifies images on this device: python3 run.py IMAGE... (PNG, JPEG, or .npy of uint8 pixels, 3 x H x W)."""
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER / "agent.pyz"))

from agent import AgentError, Bundle  # noqa: E402

try:
    bundle = Bundle(str(FOLDER))
    print(f"{bundle.file} in {bundle.runtime}")
    for path in sys.argv[1:]:
        print(f"{path}: {bundle.label(bundle.run(bundle.read_image(path))[0])}")
except AgentError as error:
    sys.stderr.write(f"error: {error}\n")
    sys.exit(2)  # as edge-se ends where a user can mend something
