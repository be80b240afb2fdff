"""What may be chosen of a split of given lists."""

from typing import Literal

Part = Literal["valid", "test"]
Mask = Literal["train", "train+valid"]
