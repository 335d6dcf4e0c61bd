"""Bytes on disk: whole files, one container of arrays and JSON, digests, resumable work, weights of packages."""

import lazy_loader

# Names and their modules stand in __init__.pyi; each is imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
