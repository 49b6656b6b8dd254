"""Classifiers of other libraries, `LIBRARY:NAME[.TAG]`: one file a library, with its `LIBRARY`."""
