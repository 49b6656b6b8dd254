"""The report: one document (`document.py`), written as HTML (`page.py`), Markdown (`text.py`) or JSON."""
