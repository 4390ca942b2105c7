from simmim_mm import registry as registry
from simmim_mm.api import convert as convert
from simmim_mm.api import embed as embed
from simmim_mm.api import export as export
from simmim_mm.api import export_onnx as export_onnx
from simmim_mm.api import extract_features as extract_features
from simmim_mm.api import get_config as get_config
from simmim_mm.api import get_model as get_model
from simmim_mm.api import load_backbone as load_backbone
from simmim_mm.api import pretrain as pretrain
from simmim_mm.api import quantize as quantize
from simmim_mm.api import reconstruct as reconstruct
from simmim_mm.catalog import list_configs as list_configs
from simmim_mm.catalog import list_models as list_models

__version__: str
