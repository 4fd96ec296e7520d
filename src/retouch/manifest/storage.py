"""What a manifest says of buckets: how they are reached, and where links to local pictures go."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema

from retouch.errors import Refused
from retouch.manifest.kinds import ONE, SEVERAL, Part, Text, advice
from retouch.storage.bucket_url import UnfitAddress, bucket_url, checked_endpoint


def _bucket_address(value: str) -> str:
    try:
        return str(bucket_url(value))
    except UnfitAddress as error:
        raise advice(error.what, error.remedy) from None


def _endpoint(value: str) -> str:
    try:
        return checked_endpoint(value)
    except Refused as error:
        raise advice(error.message.removeprefix("the storage endpoint "), error.hint) from None


BucketAddress = Annotated[
    str,
    AfterValidator(_bucket_address),
    WithJsonSchema({"type": "string", "pattern": "^(s3|gs|az)://[^/@]+|^file:///."}),
]
StorageEndpoint = Annotated[
    str,
    AfterValidator(_endpoint),
    WithJsonSchema({"type": "string", "format": "uri", "pattern": "^https?://[^@?#]+$"}),
]


class Storage(Part):
    """How buckets are reached, where the environment and ~/.aws do not say it."""

    endpoint: StorageEndpoint | None = Field(
        None,
        description="The S3 endpoint, like https://s3.cn-east-1.qiniucs.com. Default: "
        "AWS_ENDPOINT_URL, the profile's, else AWS's own.",
    )
    region: Text | None = Field(
        None, description="The region. Default: AWS_REGION, the profile's, the endpoint's own."
    )
    style: Literal["path", "host"] | None = Field(
        None,
        description="Where the bucket's name stands in addresses. Default: as the endpoint wants "
        "it, as far as that is known.",
    )
    bucket: Text | None = Field(
        None, description="The bucket this is about. Default: all that no other entry names."
    )


class Publish(Part):
    """Where local pictures are put for models that take only URLs."""

    to: BucketAddress = Field(
        description="A folder in a bucket, like s3://bucket/links: each picture is put there once, "
        "named by its digest, and the provider gets a presigned link."
    )
    expires: int | None = Field(
        None,
        ge=60,
        le=7 * 86_400,
        description="Seconds a link lasts. Default: as long as the slowest job may take.",
    )
    allow_loopback: bool = Field(
        False, description="Whether links may lead to this machine, for a provider that runs on it."
    )


def _one_or_several(value: object) -> str:
    return SEVERAL if isinstance(value, tuple | list) else ONE


StorageEntries = Annotated[
    Annotated[Storage, Tag(ONE)] | Annotated[tuple[Storage, ...], Tag(SEVERAL)],
    Discriminator(_one_or_several),
]
