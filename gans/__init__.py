"""Find what breaks a GAN's samples, and mend it.

``load_generator`` or ``Generator`` adapt a model; ``ArtifactDetector`` says which samples are broken;
``fit_correction`` finds the neurons responsible and makes a correction; ``corrected`` applies it with judgement.
"""

import lazy_loader

# Names and their modules stand in __init__.pyi; each is imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
