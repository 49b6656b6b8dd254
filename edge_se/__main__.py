"""`python -m edge_se` is `edge-se`."""

from edge_se.cli import main

if __name__ == "__main__":
    main()
