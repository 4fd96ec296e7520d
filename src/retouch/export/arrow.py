"""Arrow types of what is exported, and the same as Hugging Face's features (extra `parquet`).

Lists are written in the form that every version of `datasets` reads: `[feature]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import orjson
import pyarrow as pa

from retouch.export.pictures import Json, Shape, free_name

Feature = Mapping[str, object] | list["Feature"]

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
AMOUNT = pa.decimal128(38, 18)  # 12 decimals of a price a million are 18 of a token
AMOUNT_UNIT = Decimal("0.000000000000000001")
_TEXTS = ("prompt", "prompt_text", "source", "key", "model")


def picture_schema(shape: Shape) -> pa.Schema:
    """The columns of a data set in Parquet, with Hugging Face's features as its metadata."""
    fields: list[tuple[str, pa.DataType]] = [("image", _IMAGE)]
    features: dict[str, Feature] = {"image": {"_type": "Image"}}
    if shape.has_pairs:
        fields.append(("input_image", _IMAGE))
        features["input_image"] = {"_type": "Image"}
    if shape.has_segmentations:
        fields.append(("segmentation", _IMAGE))
        features["segmentation"] = {"_type": "Image"}
    if shape.has_labels:
        fields.append(("label", pa.int64()))
        features["label"] = _classes(shape)
    if shape.has_several_labels:
        fields.append(("labels", pa.list_(pa.int64())))
        features["labels"] = [_classes(shape)]
    plain: list[tuple[str, pa.DataType]] = [(name, pa.string()) for name in _TEXTS]
    plain.append(("original", pa.bool_()))
    if shape.has_pairs:
        plain.append(("edit_prompt", pa.string()))
    if shape.has_places:
        plain.append(("geometry", pa.string()))
    plain += [(free_name(name), type_of(kinds)) for name, kinds in shape.columns]
    fields += plain
    features |= {name: _feature(kind) for name, kind in plain}
    if shape.has_instances and "objects" not in features:
        objects = _objects(shape)
        fields.append(("objects", objects))
        parts: dict[str, Feature] = {part.name: _feature(part.type) for part in objects}
        parts["category"] = [_classes(shape)]
        features["objects"] = parts
    about = orjson.dumps({"info": {"features": features}})
    return pa.schema(fields, metadata={b"huggingface": about})


def _objects(shape: Shape) -> pa.StructType:
    numbers = pa.list_(pa.float64())
    parts = [("bbox", pa.list_(numbers)), ("category", pa.list_(pa.int64()))]
    if shape.has_polygons:
        parts.append(("segmentation", pa.list_(pa.list_(numbers))))
    if shape.has_keypoints:
        parts.append(("keypoints", pa.list_(numbers)))
    return pa.struct(parts)


def type_of(kinds: Iterable[Json]) -> pa.DataType:
    """The type that holds every kind of value of a carried column; text where none does."""
    schemas = [pa.schema([("cell", pa.infer_type([each]))]) for each in kinds if each is not None]
    if not schemas:
        return pa.string()
    try:
        found = pa.unify_schemas(schemas, promote_options="permissive").field("cell").type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()
    return pa.string() if _holds_nothing(found) else found


def _holds_nothing(kind: pa.DataType) -> bool:
    """Whether a part of the type is known to be null alone, which no feature is."""
    if pa.types.is_list(kind):
        return _holds_nothing(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_holds_nothing(part.type) for part in kind) or not kind.num_fields
    return bool(pa.types.is_null(kind))


def fitted(value: Json, kind: pa.DataType) -> Json:
    """A cell as its column's type wants it."""
    if value is None or isinstance(value, str) or not pa.types.is_string(kind):
        return value
    return orjson.dumps(value).decode()


def _classes(shape: Shape) -> Feature:
    return {"names": list(shape.classes), "_type": "ClassLabel"}


def _feature(kind: pa.DataType) -> Feature:
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {part.name: _feature(part.type) for part in kind}
    names = {"double": "float64", "float": "float32"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}
