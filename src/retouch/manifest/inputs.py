"""The manifest's `inputs`, `splits` and `labels`: which pictures, and what data set they are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from retouch.manifest.kinds import (
    Conditions,
    Number,
    Part,
    Prefix,
    Shares,
    Text,
    described,
)

SOURCES = ("glob", "table", "urls", "imagefolder", "coco", "yolo", "webdataset")
"""The keys of an input that say where its pictures are: exactly one is set."""


class Sample(Part):
    """Take some of the sources, the same ones every time: chosen by a hash of each one's name."""

    model_config = described(one_of=("count", "fraction"))

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

    model_config = described(one_of=SOURCES)

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
    segmentation: Text | None = Field(
        None,
        description="A label as a picture, named as `mask` is, like data/classes/{stem}.png: the "
        "value of each pixel says what is there. It is never sent, follows each edit, and is "
        "exported beside it.",
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

    model_config = described(one_of=("from", "column", "ratios"))

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
