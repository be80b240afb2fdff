"""Where torch runs."""

import torch

from nearfeed_runtime.settings import SettingsError


def device_of(name: str) -> torch.device:
    """The device of a setting; `auto` takes CUDA where there is one. Raises SettingsError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise SettingsError("NEARFEED_DEVICE: there is no CUDA device here; set it to cpu or auto.")
    return torch.device(name)
