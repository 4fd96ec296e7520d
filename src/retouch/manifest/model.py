"""The manifest's shape (version 1, DESIGN §6): frozen, nothing unknown passes.

Attribute names are the YAML's words. What needs the models' capabilities (options, placements,
picture counts) is checked by the plan; what needs the disk, by the plan's sources; what concerns
several keys at once, by `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from retouch.manifest.kinds import (
    JSON,
    TERMS,
    WORD,
    Amount,
    BaseURL,
    Conditions,
    Currency,
    Number,
    OutputTemplate,
    Part,
    PathPart,
    Plain,
    PlainOptions,
    Prefix,
    Shares,
    Tags,
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


SOURCES = ("glob", "table", "urls", "imagefolder", "coco", "yolo", "webdataset")
"""The keys of an input that say where its pictures are: exactly one is set."""


class Sample(Part):
    """Take some of the sources, the same ones every time: chosen by a hash of each one's name."""

    model_config = _described(one_of=("count", "fraction"))

    count: int | None = Field(
        None, ge=1, le=10**9, description="How many to take, at most; of each kind with `per`."
    )
    fraction: Number | None = Field(
        None, gt=0, le=1, description="Which share to take, about; what is added moves none."
    )
    seed: int = Field(0, ge=0, le=2**63, description="Another seed takes others.")
    per: Text | None = Field(
        None, description="A column: the sample is taken of each of its values for itself."
    )


class Input(Part):
    """Where pictures come from. Exactly one of `SOURCES` is set.

    Paths are relative to the manifest's folder, absolute, or begin with ~/.
    """

    model_config = _described(one_of=SOURCES)

    glob: Text | None = Field(
        None,
        description="Files by pattern, like ~/photos/**/*.{jpg,png}; in the order of their names. "
        "An extension matches in any case.",
    )
    table: Text | None = Field(
        None,
        description="A csv, jsonl or parquet file with a column `image` (path or URL); its "
        "columns are variables.",
    )
    urls: Text | None = Field(None, description="A text file of URLs, one a line.")
    imagefolder: Text | None = Field(
        None,
        description="A folder as Hugging Face has it: metadata.jsonl, csv or parquet with a column "
        "file_name, folders of splits and labels.",
    )
    coco: Text | None = Field(
        None,
        description="A COCO file of instances, keypoints or captions; `root` is the pictures' "
        "folder (default: the file's).",
    )
    yolo: Text | None = Field(
        None, description="A YOLO data.yaml, with images/ and labels/ (boxes, segments, poses)."
    )
    webdataset: Text | None = Field(
        None,
        description="WebDataset's tars by pattern, like /data/train-{000000..000009}.tar; their "
        "pictures are read where they are.",
    )
    root: Text | None = Field(
        None,
        description="The folder that names of sources and {parent} are relative to. Default: the "
        "manifest's where the pictures lie below it, else the pattern's part before its first "
        "wildcard, or the table's folder.",
    )
    prefix: Prefix | None = Field(
        None,
        alias="as",
        description="Put before the names of sources and {parent}, like a folder: tells apart "
        "inputs whose sources share names.",
    )
    literal: bool = Field(
        False, description="Whether [, ], ?, { and } in the pattern stand for themselves."
    )
    image_column: Text = Field(
        "image", description="The table's column that holds each picture's path or URL."
    )
    exclude: tuple[Text, ...] = Field(
        (), description="Patterns of files that are left out, with `glob` or `imagefolder`."
    )
    where: Conditions = Field(
        {},
        description="Take only sources whose columns have these values; a list is any of its "
        "items. Compared as texts.",
    )
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
        False,
        description="Whether pictures in a mode the model does not take are converted, and HEIC, "
        "AVIF, BMP, TIFF and the first frame of a GIF are taken.",
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


class UpTo(Part):
    """The most that a run may pay again, knowingly."""

    amount: Amount = Field(description="How much, for one run.")
    currency: Currency = Field(description="ISO 4217 code; that of the prices.")


class PayAgain(Part):
    """Terms on which a run pays again, by itself, for what may have been charged already."""

    retry: int = Field(1, ge=1, le=10, description="How often a job is sent again at most.")
    up_to: UpTo = Field(description="The sum that is never passed; what is left is held.")


def _word_or_terms(value: object) -> str:
    return TERMS if isinstance(value, Mapping | PayAgain) else WORD


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


OnUnknown = Annotated[
    Annotated[Literal["hold", "retry"], Tag(WORD)] | Annotated[PayAgain, Tag(TERMS)],
    Discriminator(_word_or_terms),
]


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
        600.0, gt=0, le=86400, description="Seconds to wait for the reply to one request."
    )
    repeat: int = Field(
        1, ge=1, le=10_000, description="How often each job is done (and paid for)."
    )
    on_unknown: OnUnknown = Field(
        "hold",
        description="What to do with a request that may or may not have been charged: hold it "
        "until it is resolved; retry: send it (and perhaps pay) again with the next run; or, for "
        "unattended nights, {retry: 1, up_to: {amount: 5, currency: CNY}}: send it again at once, "
        "within that sum. It never overrides a resolution.",
    )
    retry_empty: int = Field(
        0,
        ge=0,
        le=5,
        description="How often a job is sent (and paid for) again when its answer was whole, "
        "charged and without a picture; within the budget, and counted as waste.",
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


class Leaks(Part):
    """What is done about a picture that is in two splits."""

    exact: Literal["refuse", "warn", "ignore"] = Field(
        "refuse", description="About the same bytes."
    )
    near: Literal["refuse", "warn", "ignore"] = Field(
        "warn", description="About pictures that look the same (perceptual hashes by OpenCV)."
    )
    distance: int = Field(
        4, ge=0, le=20, description="How many of a hash's 64 bits may differ, to be near."
    )


class Splits(Part):
    """Which sources are for training, validation and test. One of `from`, `column`, `ratios`."""

    model_config = _described(one_of=("from", "column", "ratios"))

    by: Literal["path"] | None = Field(
        None,
        alias="from",
        description="`path`: by folders named train, val, valid, validation, dev or test (or as "
        "the data set itself says).",
    )
    column: Text | None = Field(None, description="By a column that names the split.")
    ratios: Shares = Field(
        {}, description="By a hash of each name, like {train: 0.8, val: 0.1, test: 0.1}."
    )
    seed: int = Field(0, ge=0, le=2**63, description="Of the ratios' hash; another splits anew.")
    group: Text | None = Field(
        None, description="A column: sources that share its value are never in two splits."
    )
    augment: tuple[Text, ...] = Field(
        (),
        description="The splits that are edited; the others are exported untouched, and not paid "
        "for. Default: all.",
    )
    leaks: Leaks = Field(Leaks(), description="What is done about pictures in two splits.")


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
    reuse: tuple[Text, ...] = Field(
        (),
        description="Ledgers of other manifests, like outputs/cats/ledger.jsonl: what they paid "
        "for is taken over instead of bought again.",
    )
