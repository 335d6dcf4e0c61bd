from .atomic import whole_file as whole_file
from .container import load as load
from .container import save as save
from .digests import digest as digest
from .pieces import Work as Work
from .weights import cache_folder as cache_folder
from .weights import fetch_weights as fetch_weights
from .weights import find_weights as find_weights
