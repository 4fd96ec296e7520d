"""The manifest's shape (version 1, DESIGN §6): frozen, nothing unknown passes.

Attribute names are the YAML's words. What needs the models' capabilities (options, placements,
picture counts) is checked by the plan; what needs the disk, by the plan's sources; what concerns
several keys at once, by `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from retouch.manifest.inputs import Input, Labels, Splits
from retouch.manifest.kinds import (
    JSON,
    BaseURL,
    Conditions,
    Number,
    OutputTemplate,
    Part,
    PathPart,
    Plain,
    PlainOptions,
    Tags,
    Text,
    VariableName,
    VariableValue,
    described,
)
from retouch.manifest.prices import Price, PriceTable
from retouch.manifest.run_settings import Budget, RunSettings
from retouch.manifest.storage import BucketAddress, Publish, Storage, StorageEntries

SUPPORTED_VERSIONS = (1,)
DRAFT = "https://json-schema.org/draft/2020-12/schema"


UnbilledStatus = Annotated[int, Field(ge=400, le=599)]


class Provider(Part):
    """Which server, spoken to how, with which key."""

    dialect: Text = Field("qiniu", description="How the server is spoken to: qiniu, rehearsal, ...")
    base_url: BaseURL | None = Field(
        None,
        description="The server's address, like https://api.qnaigc.com/v1 (a bare host gets /v1). "
        "Default: the environment's OPENAI_BASE_URL, else the dialect's own.",
    )
    fallback_urls: tuple[BaseURL, ...] = Field(
        (), max_length=8, description="Tried in turn for requests that were surely not sent."
    )
    api_key_env: VariableName | None = Field(
        "OPENAI_API_KEY",
        description="The name of the environment variable that holds the key, never the key; null "
        "for a server of your own that asks for none.",
    )
    encoding: Literal["json", "multipart"] | None = Field(
        None,
        description="How pictures are sent where the dialect has several ways (openai: multipart, "
        "or json). Default: the dialect's own.",
    )
    unbilled_statuses: tuple[UnbilledStatus, ...] = Field(
        (),
        max_length=50,
        description="Statuses of errors that this provider surely never charges for, like [502]: "
        "such a request is sent again instead of being held. State it only if the provider does.",
    )
    trust_env: bool = Field(
        False, description="Whether proxies named in the environment (HTTPS_PROXY) are used."
    )
    fake_ip: bool = Field(
        False,
        description="Whether the name of a result's server may lead to 198.18.0.0/15 (the fake-ip "
        "of Clash and its like) or, by NAT64, to 64:ff9b::/96.",
    )
    faults: Plain = Field(
        None, description="For rehearsals: what goes wrong, how often, from which seed."
    )


class PromptTemplate(Part):
    """What is asked for. Exactly one of `template`, `file` is set."""

    model_config = described(optional=("id",), one_of=("template", "file"))

    id: PathPart = Field(
        description="Names the prompt in paths, records and reports. Default: the file's stem."
    )
    template: Text | None = Field(
        None, description="The prompt, with {name} where a variable or column goes; {{ is a brace."
    )
    file: Text | None = Field(None, description="A UTF-8 text file that holds the template.")
    variables: Mapping[str, VariableValue] = Field(
        {},
        description="Values for {name}, as written; a list makes a prompt of each of its values.",
    )
    weight: Number = Field(
        1.0, gt=0, le=10**6, description="How often `combine: {mode: choose}` draws it."
    )
    when: Conditions = Field(
        {},
        description="Only for sources whose columns have these values; a list is any of its items.",
    )
    models: tuple[Text, ...] = Field(
        (), description="Only on these models, by their `id`. Default: on all."
    )


class Limits(Part):
    """What the provider allows for one model. A rate left out is not limited."""

    keeps_seconds: ClassVar[bool] = False
    requests_per_minute: Number | None = Field(
        None, gt=0, le=10**6, description="Requests in any sixty seconds."
    )
    images_per_minute: Number | None = Field(
        None, gt=0, le=10**6, description="Pictures asked for in any sixty seconds."
    )
    tokens_per_minute: Number | None = Field(
        None, gt=0, le=10**12, description="Tokens in any sixty seconds, estimated when sent."
    )
    concurrency: int = Field(
        4, ge=1, le=10_000, description="Requests (or the provider's slots) in flight at once."
    )


class Poll(Part):
    """How tasks are asked about. Seconds."""

    interval: Number = Field(2.0, ge=0.05, le=3600, description="Seconds between two polls.")
    timeout: Number = Field(
        900.0,
        gt=0,
        le=7 * 86400,
        description="Seconds after which a task is left as unknown; the next run polls on.",
    )


class Model(Part):
    """A model to send every source and prompt to, at its own pace."""

    model: Annotated[Text, Field(max_length=200)] = Field(
        description="The model's name as the server knows it; quote it if it looks like a number."
    )
    id: PathPart | None = Field(
        None,
        description="Names the lane in paths, records and reports, so that one model may be there "
        "twice. Default: the model's name.",
    )
    options: PlainOptions = Field(
        {}, description="Sent with each request, like n or aspect_ratio; as the model takes them."
    )
    limits: Limits = Field(Limits(), description="The model's rate limits.")
    images: Text | None = Field(
        None,
        description="The request field the pictures go to, like subject_image_list. Default: the "
        "model's first.",
    )
    send_mask: bool = Field(
        True,
        description="Whether sources go to this model with their masks; false for a model that "
        "takes none and edits whole pictures.",
    )
    poll: Poll = Field(Poll(), description="How the model's tasks are asked about.")
    price: Price | None = Field(
        None, description="What it costs. Default: as the price file says; else it is unpriced."
    )
    budget: Budget | None = Field(
        None, description="A budget for this model alone, within that of the run."
    )
    like: Text | None = Field(
        None, description="A known model whose capabilities this one has, if it is not known."
    )
    accepts: tuple[Text, ...] = Field(
        (), description="Options the model takes although retouch's table says otherwise."
    )

    @property
    def name(self) -> str:
        """What the lane is called: `id`, else the model's name."""
        return self.id or self.model


DEFAULT_OUTPUT_PATH = "{model}/{prompt}/{parent}/{stem}-{index}"


class Output(Part):
    """How the outputs are laid out."""

    path: OutputTemplate = Field(
        DEFAULT_OUTPUT_PATH,
        description="Path of each picture under images/, without suffix.",
    )
    mirror: BucketAddress | None = Field(
        None,
        description="A folder in a bucket, like s3://bucket/cats: every picture is copied there "
        "once it is kept here, the ledger and the report at a run's end.",
    )


class Combine(Part):
    """Which prompts meet which sources."""

    mode: Literal["product", "zip", "choose"] = Field(
        "product",
        description="`product`: each with each; `zip`: the n-th source with the n-th prompt, from "
        "the beginning again; `choose`: some for each source, drawn by weight.",
    )
    variants: int = Field(
        1, ge=1, le=10_000, description="How many different prompts are drawn for a source."
    )
    seed: int = Field(0, ge=0, le=2**63, description="Another seed draws others.")


class Manifest(Part):
    """What to edit, with which prompts, on which models, under which limits."""

    model_config = described(optional=("name",))

    version: Literal[1] = Field(description="The version of this format: 1.")
    name: PathPart = Field(
        description="Names the folder under outputs/. Default: the file's name without suffix."
    )
    provider: Provider = Field(Provider(), description="Which server, spoken to how.")
    inputs: tuple[Input, ...] = Field(min_length=1, description="The pictures to edit.")
    prompts: tuple[PromptTemplate, ...] = Field(min_length=1, description="What is asked for.")
    models: tuple[Model, ...] = Field(
        min_length=1, description="Each model gets every source with every prompt."
    )
    combine: Combine = Field(
        Combine(), description="How prompts meet sources. Default: each with each."
    )
    splits: Splits | None = Field(None, description="Training, validation and test.")
    labels: Labels = Field(Labels(), description="What becomes of labels on export.")
    prices: Text | None = Field(
        None, description="A price file (`retouch schema prices` describes it)."
    )
    run: RunSettings = Field(RunSettings(), description="How a run goes about it.")
    tags: Tags = Field(
        {}, description="Words of your own, like `team: vision`, that reviews can go by."
    )
    output: Output = Field(Output(), description="Where pictures go.")
    storage: StorageEntries = Field(
        (), description="How buckets are reached; a list, each with `bucket`, where they differ."
    )
    publish: Publish | None = Field(
        None, description="Lets models that take only URLs have pictures from this disk."
    )
    reuse: tuple[Text, ...] = Field(
        (),
        description="Ledgers of other manifests, like outputs/cats/ledger.jsonl: what they paid "
        "for is taken over instead of bought again.",
    )

    @property
    def storages(self) -> tuple[Storage, ...]:
        """What is said of buckets, an entry each."""
        return (self.storage,) if isinstance(self.storage, Storage) else self.storage


def manifest_schema() -> JSON:
    """What a manifest may hold, every key described: a JSON Schema (draft 2020-12) for editors
    and other checkers. It says the shape; what concerns several keys is checked by `load` alone.
    """
    return _schema(Manifest)


def prices_schema() -> JSON:
    """What a price file may hold, every key described."""
    return _schema(PriceTable)


def _schema(shape: type[Part]) -> JSON:
    return {"$schema": DRAFT, **shape.model_json_schema(mode="validation")}
