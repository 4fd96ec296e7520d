"""Addresses of objects in buckets, and of the servers they are on, as people write them. Pure text.

`s3://bucket/prefix/name`; `gs://` and `az://` alike; `file:///folder/name` is a folder that is
treated as a bucket. A name holds no empty part, `.` or `..`: no store reads these alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from retouch.errors import Refused
from retouch.text import is_host, is_loopback_name, one_clean_line

SCHEMES = ("s3", "gs", "az", "file")
_ADDRESS = re.compile(r"(s3|gs|az|file)://([^/]*)(?:/(.*))?", re.DOTALL)
_USER = re.compile(r"//[^/]*@")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
NAME_BYTES = 1024  # of an object: S3, GCS and Azure take no longer one


class UnfitAddress(ValueError):
    """Why a text is no address of a bucket, in one clause, and what to write."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True, slots=True, order=True)
class BucketURL:
    """An object, or a folder of objects, in a bucket; `key` has no slash at its ends."""

    scheme: str
    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    def __truediv__(self, name: str) -> BucketURL:
        return replace(self, key=f"{self.key}/{name}" if self.key else name)

    @property
    def parent(self) -> BucketURL:
        """The folder it lies in."""
        return replace(self, key=self.key.rpartition("/")[0])


def is_bucket(reference: str) -> bool:
    """Whether a reference of an input is meant as an object in a bucket. (A file is named by its
    path there.)"""
    return reference.startswith(("s3://", "gs://", "az://"))


def shown_address(text: str) -> str:
    """An address fit to be shown: without what may be credentials."""
    return one_clean_line(_USER.sub("//[secret]@", text), 120)


def bucket_url(text: str) -> BucketURL:
    """The address a text is. Raises UnfitAddress."""
    found = _ADDRESS.fullmatch(text.strip())
    if found is None:
        raise UnfitAddress("is no address of a bucket", "write it like s3://bucket/folder")
    scheme, bucket, key = found[1], found[2], (found[3] or "").strip("/")
    if scheme == "file":
        if bucket or not key:
            raise UnfitAddress("names no folder", "write it like file:///folder, with three /")
    elif "@" in bucket or ":" in bucket:
        raise UnfitAddress(
            "holds credentials or a port",
            "put credentials where AWS tools read them, and the port into `storage.endpoint`",
        )
    elif not _BUCKET.fullmatch(bucket):
        raise UnfitAddress("names no bucket", "write it like s3://bucket/folder")
    _refuse_unfit(key)
    return BucketURL(scheme, bucket, key)


def unfit_address(text: str) -> UnfitAddress | None:
    """Why a text is no address of a bucket; None if it is one."""
    try:
        bucket_url(text)
    except UnfitAddress as error:
        return error
    return None


def _refuse_unfit(key: str) -> None:
    if any(ord(character) < 32 or ord(character) == 127 for character in key):
        raise UnfitAddress("holds a control character", "remove it")
    if key and any(part in ("", ".", "..") for part in key.split("/")):
        what = "has an empty part, `.` or `..` in it, which stores read differently"
        raise UnfitAddress(what, "write each part's name")
    if len(key.encode("utf-8", "surrogatepass")) > NAME_BYTES:
        raise UnfitAddress(f"is longer than {NAME_BYTES:,} bytes", "shorten it")


def checked_endpoint(text: str) -> str:
    """An endpoint as `https://host[:port]`, or http to this machine alone. Raises Refused."""
    example = "write it like https://s3.cn-east-1.qiniucs.com"
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise Refused("the storage endpoint is no URL", hint=example) from None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise Refused("the storage endpoint is no https:// URL", hint=example)
    if "@" in parts.netloc:
        hint = "remove what stands before the @; credentials are read where AWS tools keep them"
        raise Refused("the storage endpoint holds credentials; nothing was sent", hint=hint)
    if not (host.isascii() and is_host(host)):
        raise Refused("the storage endpoint names no host", hint=example)
    if parts.scheme == "http" and not is_loopback_name(host):
        raise Refused(
            f"the storage endpoint http://{host} is not encrypted, and is not this machine: "
            "nothing was sent",
            hint="write https:// (http is for a server on this machine alone)",
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
