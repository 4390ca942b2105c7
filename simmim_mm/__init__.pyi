from simmim_mm import registry as registry
from simmim_mm.api import *  # noqa: F403
from simmim_mm.catalog import list_configs as list_configs
from simmim_mm.catalog import list_models as list_models

__version__: str
