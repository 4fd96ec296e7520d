"""The manifest's shape (version 1, DESIGN §6): frozen, nothing unknown passes.

Attribute names are the YAML's words. What needs the models' capabilities (options, placements,
picture counts) is checked by the plan; what needs the disk, by the plan's sources; what concerns
several keys at once, by `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from retouch.manifest.kinds import (
    JSON,
    Amount,
    BaseURL,
    Currency,
    Number,
    OutputTemplate,
    Part,
    PathPart,
    Plain,
    PlainOptions,
    Text,
    VariableValue,
)
from retouch.manifest.prices import Price

SUPPORTED_VERSIONS = (1,)


def _described(
    optional: tuple[str, ...] = (),
    one_of: tuple[str, ...] = (),
    any_of: tuple[str, ...] = (),
) -> ConfigDict:
    """What the JSON Schema says beyond the fields.

    `optional` keys are filled in when left out; exactly one of `one_of`, at least one of
    `any_of` is given.
    """

    def extend(schema: JSON) -> None:
        schema["required"] = [key for key in schema.get("required", ()) if key not in optional]
        for keyword, keys in (("oneOf", one_of), ("anyOf", any_of)):
            if keys:
                schema[keyword] = [{"required": [key]} for key in keys]

    return ConfigDict(json_schema_extra=extend)


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
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")] | None = Field(
        "OPENAI_API_KEY",
        description="The name of the environment variable that holds the key, never the key; null "
        "for a server of your own that asks for none.",
    )
    encoding: Literal["json", "multipart"] | None = Field(
        None,
        description="How pictures are sent where the dialect has several ways (openai: multipart, "
        "or json). Default: the dialect's own.",
    )
    trust_env: bool = Field(
        False, description="Whether proxies named in the environment (HTTPS_PROXY) are used."
    )
    faults: Plain = Field(
        None, description="For rehearsals: what goes wrong, how often, from which seed."
    )


class Sample(Part):
    """Take some of the sources, the same ones every time."""

    count: int = Field(ge=1, le=10**9, description="How many sources to take, at most.")
    seed: int = Field(0, ge=0, le=2**63, description="Another seed takes others.")


class Input(Part):
    """Where pictures come from. Exactly one of `glob`, `table`, `urls` is set.

    Paths are relative to the manifest's folder.
    """

    model_config = _described(one_of=("glob", "table", "urls"))

    glob: Text | None = Field(
        None, description="Files by pattern, like data/**/*.jpg; in the order of their names."
    )
    table: Text | None = Field(
        None,
        description="A csv, jsonl or parquet file with a column `image` (path or URL); its "
        "columns are variables.",
    )
    urls: Text | None = Field(None, description="A text file of URLs, one a line.")
    exclude: tuple[Text, ...] = Field((), description="Patterns of files that `glob` leaves out.")
    mask: Text | None = Field(
        None,
        description="The mask of each source, like data/masks/{stem}.png. White is edited, black "
        "is kept.",
    )
    images: tuple[Text, ...] = Field(
        (), description="Further images sent with each source; columns may be used as in `mask`."
    )
    sample: Sample | None = Field(None, description="Take only some of the sources.")
    allow_empty: bool = Field(False, description="Whether it is fine that nothing is found.")
    convert: bool = Field(
        False, description="Whether pictures in a mode the model does not take are converted."
    )
    apply_orientation: bool = Field(
        False, description="Whether pictures that EXIF says lie on their side are turned first."
    )


class PromptTemplate(Part):
    """What is asked for. Exactly one of `template`, `file` is set."""

    model_config = _described(optional=("id",), one_of=("template", "file"))

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


class Limits(Part):
    """What the provider allows for one model. A rate left out is not limited."""

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
        4, ge=1, le=1000, description="Requests (or the provider's slots) in flight at once."
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


class Budget(Part):
    """Limits on money that are never passed. At least one of the amounts is set."""

    model_config = _described(any_of=("amount", "total", "per_day"))

    amount: Amount | None = Field(None, description="The most that one run may cost.")
    total: Amount | None = Field(
        None, description="The most that all runs of this ledger may cost together."
    )
    per_day: Amount | None = Field(None, description="The most that a day (UTC) may cost.")
    currency: Currency = Field(description="ISO 4217 code; that of the prices.")


class ConfirmAbove(Part):
    """The amount of money above which a run asks first."""

    amount: Amount = Field(description="How much.")
    currency: Currency = Field(description="ISO 4217 code, like CNY or USD.")


class Model(Part):
    """A model to send every source and prompt to, at its own pace."""

    model: Annotated[Text, Field(max_length=200)] = Field(
        description="The model's name as the server knows it; quote it if it looks like a number."
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


class RunSettings(Part):
    """What a run may spend, how long it waits, and what it does when in doubt."""

    budget: Budget | None = Field(None, description="What may be spent. Default: no limit.")
    confirm_above: ConfirmAbove | None = Field(
        None, description="Ask before a run that may cost more; refused where nobody can answer."
    )
    retries: int = Field(
        3, ge=0, le=20, description="How often a request that was surely not billed is sent again."
    )
    stop_after_losses: int = Field(
        20,
        ge=1,
        le=1_000_000,
        description="A model gets no more after so many answers in a row that may have been "
        "charged and gave no picture.",
    )
    stop_after_outage: Number = Field(
        3600.0,
        gt=0,
        le=604_800,
        description="Seconds after which a model that serves nothing gets no more; until then it "
        "is asked now and then.",
    )
    timeout: Number = Field(
        180.0, gt=0, le=86400, description="Seconds to wait for the reply to one request."
    )
    repeat: int = Field(
        1, ge=1, le=10_000, description="How often each job is done (and paid for)."
    )
    on_unknown: Literal["hold", "retry"] = Field(
        "hold",
        description="What to do with a request that may or may not have been charged: hold it "
        "until it is resolved, or send it (and perhaps pay) again.",
    )
    on_bad_source: Literal["refuse", "skip"] = Field(
        "refuse", description="Whether one bad picture stops the run, or is skipped and said."
    )


DEFAULT_OUTPUT_PATH = "{model}/{prompt}/{parent}/{stem}-{index}"


class Output(Part):
    """How the outputs are laid out."""

    path: OutputTemplate = Field(
        DEFAULT_OUTPUT_PATH,
        description="Path of each picture under images/, without suffix.",
    )


class Labels(Part):
    """How a data set's labels go out with the edited pictures. Classes and columns always do."""

    carry: Literal["auto", "drop"] = Field(
        "auto",
        description="Whether boxes, outlines, keypoints and masks are exported, or dropped.",
    )
    geometry: Literal["scale", "register", "drop"] = Field(
        "scale",
        description="How they follow an edit: scaled with the picture's size, moved by a map that "
        "is fitted to the picture's features, or not at all (as `carry: drop`).",
    )


class Manifest(Part):
    """What to edit, with which prompts, on which models, under which limits."""

    model_config = _described(optional=("name",))

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
    prices: Text | None = Field(
        None, description="A price file (`retouch schema prices` describes it)."
    )
    run: RunSettings = Field(RunSettings(), description="How a run goes about it.")
    output: Output = Field(Output(), description="Where pictures go.")
    labels: Labels = Field(Labels(), description="How labels are exported with the pictures.")
    reuse: tuple[Text, ...] = Field(
        (),
        description="Ledgers of other manifests, like outputs/cats/ledger.jsonl: what they paid "
        "for is taken over instead of bought again.",
    )
