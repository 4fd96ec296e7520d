"""The library's store for a bucket: its options from our Access, and what only the store itself
can tell of where it is.
"""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from retouch.storage.bucket_access import Access, Credentials
from retouch.storage.bucket_url import BucketURL
from retouch.text import is_loopback_name

REQUEST_SECONDS = 600.0  # a large object on a slow line
_environment_lock = threading.Lock()


def open_store(url: BucketURL, patience: float, access: Access | None) -> Any:
    """The library's store for a bucket; `access` is that of an S3 one."""
    module = import_module("obstore.store")
    retries = {
        "max_retries": 10,
        "retry_timeout": timedelta(seconds=patience),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=5),
            "base": 2,
        },
    }
    client = {
        "connect_timeout": timedelta(seconds=10),
        "timeout": timedelta(seconds=REQUEST_SECONDS),
    }
    match url.scheme:
        case "gs":
            return module.GCSStore(url.bucket, client_options=client, retry_config=retries)
        case "az":
            return module.AzureStore(url.bucket, client_options=client, retry_config=retries)
        case "file":
            return module.LocalStore("/")
    if access is None:
        raise ValueError("an S3 bucket has an access")
    return _s3(module, url, access, client, retries)


def _s3(
    module: Any, url: BucketURL, access: Access, client: dict[str, Any], retries: dict[str, Any]
) -> Any:
    is_http = (access.endpoint or "").startswith("http://")  # to this machine alone
    config: dict[str, Any] = {"region": access.region, "unsigned_payload": True}
    if access.endpoint:
        named = _endpoint(access.endpoint, url.bucket, in_host=access.in_host)
        config["endpoint"] = config["aws_endpoint_url_s3"] = named
    config["virtual_hosted_style_request"] = access.in_host
    config["skip_signature"] = access.is_anonymous
    provided: dict[str, Any] = {}
    if access.credentials is not None and access.credentials.ends is None:
        known = access.credentials
        config |= {"access_key_id": known.key_id, "secret_access_key": known.secret}
        config |= {"session_token": known.token} if known.token else {}
    elif access.credentials is not None:
        provided["credential_provider"] = partial(_provided, access.credentials)
    with _past_proxies(access.host):
        return module.S3Store(
            url.bucket, config=config, client_options=client | {"allow_http": is_http},
            retry_config=retries, **provided,
        )  # fmt: skip


def _provided(known: Credentials) -> dict[str, Any]:
    return {
        "access_key_id": known.key_id,
        "secret_access_key": known.secret,
        "token": known.token,
        "expires_at": known.ends,
    }


def _endpoint(endpoint: str, bucket: str, *, in_host: bool) -> str:
    """The endpoint as the library wants it: with the bucket's name where that is in the host."""
    parts = urlsplit(endpoint)
    if not in_host or parts.netloc.startswith(f"{bucket}."):
        return endpoint
    return f"{parts.scheme}://{bucket}.{parts.netloc}{parts.path}"


@contextmanager
def _past_proxies(host: str) -> Iterator[None]:
    """What is opened meanwhile asks this machine without a proxy: the library takes proxies from
    the environment, and has no other way to be told."""
    if not is_loopback_name(host):
        yield
        return
    with _environment_lock:
        before = {name: os.environ.get(name) for name in ("NO_PROXY", "no_proxy")}
        for name, value in before.items():
            os.environ[name] = ",".join(filter(None, (value, host)))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def region_by_head(access: Access, bucket: str) -> str:
    """The region a bucket says it is in; "" where it says nothing. Anybody may ask."""
    parts = urlsplit(access.endpoint or f"https://s3.{access.region}.amazonaws.com")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("HEAD", f"/{bucket}")
        return connection.getresponse().headers.get("x-amz-bucket-region") or ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
