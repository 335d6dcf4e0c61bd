"""What a module outputs: name it, record it, edit it, save the edit."""

import lazy_loader

# Names and their modules stand in __init__.pyi; each is imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
