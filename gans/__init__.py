"""Find what breaks a GAN's samples, and mend it.

``load_generator`` or ``Generator`` adapt a model, ``convert`` makes a folder of a foreign checkpoint. What each command
does is one function: ``detect`` scores samples, ``train_detector`` learns from labels what is broken, ``correct`` mends
samples, ``dissect`` names units, ``find_rare`` searches rare versions, ``explore`` finds what the generator treats
alike. Their parts: ``ArtifactDetector`` says which samples are broken; ``fit_correction`` finds the neurons responsible
and makes a correction; ``corrected`` applies it with judgement.
"""

import lazy_loader

# Names and their modules stand in __init__.pyi; each is imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
