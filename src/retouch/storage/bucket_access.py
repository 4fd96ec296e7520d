"""How a bucket is reached: endpoint, region, style and credentials, as AWS tools read them.

First what the manifest's `storage:` says, then the environment (`AWS_*`), then the profile in
~/.aws. Source: AWS SDKs and Tools Reference Guide, "Configuration precedence" and "Service-specific
endpoints". Values of credentials are in no message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from retouch.errors import Refused
from retouch.storage.bucket_url import checked_endpoint
from retouch.text import one_clean_line

PROCESS_SECONDS = 60.0
DEFAULT_REGION = "us-east-1"
_REGION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
# A region as the endpoints of AWS, Kodo, OSS, COS and TOS name it.
_REGION_IN_HOST = re.compile(
    r"(?:^|\.)(?:s3[.-]|cos\.|tos-s3-|s3\.oss-|oss-)([a-z]{2}-[a-z0-9-]+?)(?:-internal)?\."
    r"(?:amazonaws\.com|qiniucs\.com|aliyuncs\.com|myqcloud\.com|volces\.com)"
)
# Servers that refuse the bucket's name in the path (SecondLevelDomainForbidden).
_NAME_IN_HOST = (".aliyuncs.com", ".myqcloud.com", ".volces.com", ".amazonaws.com")
_PROVIDED_ELSEWHERE = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """What a manifest says of a bucket, or of all (`bucket` None). `style`: whether the bucket's
    name stands in the path or in the host."""

    endpoint: str | None = None
    region: str | None = None
    style: str | None = None
    bucket: str | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What requests are signed with; `ends`: when they are worth nothing any more."""

    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    ends: datetime | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must stand nowhere."""
        return tuple(each for each in (self.secret, self.token) if each)


@dataclass(frozen=True, slots=True)
class Access:
    """How an S3 bucket is reached. `endpoint` None: AWS's own. `credentials` None: those of the
    machine (instance, container, web identity), or none where `is_anonymous`."""

    endpoint: str | None
    region: str
    in_host: bool
    credentials: Credentials | None
    is_anonymous: bool = False

    @property
    def host(self) -> str:
        """The endpoint's host; "" for AWS's own."""
        return (urlsplit(self.endpoint).hostname or "") if self.endpoint else ""


def access_to(
    bucket: str, settings: tuple[BucketSettings, ...], environment: Mapping[str, str], home: Path
) -> Access:
    """How the S3 bucket is reached. Raises Refused, which names a variable or file and no value."""
    given = _settings_for(bucket, settings)
    profile = _Profile.read(environment, home)
    endpoint = given.endpoint or _endpoint(environment, profile)
    endpoint = checked_endpoint(endpoint) if endpoint else None
    host = (urlsplit(endpoint).hostname or "") if endpoint else ""
    region = (
        given.region
        or _first(environment, "AWS_REGION", "AWS_DEFAULT_REGION")
        or profile.get("region")
        or _region_of(host)
        or DEFAULT_REGION
    )
    if not _REGION.fullmatch(region):  # it becomes part of a host's name
        raise Refused(
            f"the region for buckets is {one_clean_line(region, 60)!r}, which no region is called",
            hint="write it like cn-east-1 (`storage.region`, AWS_REGION or the profile)",
        )
    is_anonymous = environment.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true")
    credentials = None if is_anonymous else _credentials(environment, profile)
    style = given.style or profile.nested("s3", "addressing_style") or ""
    in_host = style in ("host", "virtual") or (style != "path" and _prefers_host(host, bucket))
    return Access(endpoint, region, in_host, credentials, is_anonymous)


def _settings_for(bucket: str, settings: tuple[BucketSettings, ...]) -> BucketSettings:
    """Those that name the bucket, else those that name none."""
    own = next((each for each in settings if each.bucket == bucket), None)
    every = next((each for each in settings if each.bucket is None), None)
    return own or every or BucketSettings()


def _first(environment: Mapping[str, str], *names: str) -> str | None:
    return next((value for name in names if (value := environment.get(name, "").strip())), None)


def _endpoint(environment: Mapping[str, str], profile: _Profile) -> str | None:
    if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() in ("1", "true"):
        return None
    named = _first(environment, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return named or profile.service_endpoint() or profile.get("endpoint_url")


def _region_of(host: str) -> str | None:
    found = _REGION_IN_HOST.search(host)
    return found[1] if found else None


def _prefers_host(host: str, bucket: str) -> bool:
    """Whether the bucket's name goes into the host where nobody says; a name with dots would not
    fit the certificate."""
    return (not host or host.endswith(_NAME_IN_HOST)) and "." not in bucket


def _credentials(environment: Mapping[str, str], profile: _Profile) -> Credentials | None:
    key_id, secret = (
        _first(environment, name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    )
    if bool(key_id) != bool(secret):
        missing = "AWS_SECRET_ACCESS_KEY" if key_id else "AWS_ACCESS_KEY_ID"
        raise Refused(f"{missing} is not set, and its companion is", hint="set both, or none")
    if key_id and secret:
        return _fit(Credentials(key_id, secret, _first(environment, "AWS_SESSION_TOKEN")))
    found = profile.credentials()
    if found is not None:
        return _fit(found)
    if any(environment.get(name) for name in _PROVIDED_ELSEWHERE):
        return None
    if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true" or not _is_in_a_cloud():
        raise Refused(
            f"no credentials for buckets were found ({profile.tried}); nothing was sent",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; "
            "AWS_SKIP_SIGNATURE=true reads a public bucket without any",
        )
    return None


def _fit(credentials: Credentials) -> Credentials:
    """The credentials, if they can stand in a header."""
    values = (credentials.key_id, credentials.secret, credentials.token or "")
    for name, value in zip(("key id", "secret", "session token"), values, strict=True):
        if not value.isascii() or not value.isprintable() or set(value) & set(" \"'"):
            raise Refused(
                f"the credentials for buckets cannot be used: the {name} holds a blank, a quote "
                "or a control character",
                hint="copy it again, without quotes",
            )
    return credentials


def _is_in_a_cloud() -> bool:
    """Whether a machine's own metadata service is there: the library would ask it for minutes."""
    import http.client  # noqa: PLC0415 - start-up time

    connection = http.client.HTTPConnection("169.254.169.254", timeout=1.0)
    try:
        life = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        connection.request("PUT", "/latest/api/token", headers=life)
        return connection.getresponse().status in (200, 403)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class _Profile:
    """One profile of ~/.aws/config and ~/.aws/credentials, of which the latter wins."""

    def __init__(self, name: str, sections: dict[str, dict[str, str]], tried: str) -> None:
        self._name = name
        self._sections = sections
        self.tried = tried

    @classmethod
    def read(cls, environment: Mapping[str, str], home: Path) -> _Profile:
        """The profile AWS_PROFILE names, or `default`. Raises Refused."""
        named = _first(environment, "AWS_PROFILE", "AWS_DEFAULT_PROFILE")
        name = named or "default"
        config = _ini(environment, "AWS_CONFIG_FILE", home / ".aws/config")
        shared = _ini(environment, "AWS_SHARED_CREDENTIALS_FILE", home / ".aws/credentials")
        own = config.get("default" if name == "default" else f"profile {name}", {})
        sections = {
            "own": own | shared.get(name, {}),
            "services": config.get(f"services {own.get('services', '')}".strip(), {}),
        }
        if named and name != "default" and not sections["own"]:
            raise Refused(
                f"the profile {name!r} that AWS_PROFILE names is in neither ~/.aws/config nor "
                "~/.aws/credentials",
                hint="`aws configure list-profiles` lists those there are",
            )
        return cls(name, sections, f"looked in the environment and in profile {name!r}")

    def get(self, key: str) -> str | None:
        return self._sections["own"].get(key) or None

    def nested(self, group: str, key: str) -> str | None:
        """A value of an indented group, like `s3 =` with `addressing_style = path` below it."""
        return _nested(self._sections["own"].get(group, "")).get(key)

    def service_endpoint(self) -> str | None:
        return _nested(self._sections["services"].get("s3", "")).get("endpoint_url")

    def credentials(self) -> Credentials | None:
        key_id, secret = self.get("aws_access_key_id"), self.get("aws_secret_access_key")
        if key_id and secret:
            return Credentials(key_id, secret, self.get("aws_session_token"))
        if command := self.get("credential_process"):
            return _of_process(command, self._name)
        for key in ("sso_session", "sso_start_url", "role_arn", "login_session"):
            if self.get(key):
                raise Refused(
                    f"profile {self._name!r} takes its credentials by {key}, which is not read "
                    "here",
                    hint=f'eval "$(aws configure export-credentials --profile {self._name} '
                    '--format env)" puts them into the environment',
                )
        return None


def _ini(environment: Mapping[str, str], variable: str, default: Path) -> dict[str, dict[str, str]]:
    import configparser  # noqa: PLC0415 - start-up time

    named = environment.get(variable, "").strip()
    path = Path(named).expanduser() if named else default
    parser = configparser.RawConfigParser(strict=False, default_section="\0")
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except (configparser.Error, UnicodeDecodeError):
        raise Refused(f"{path}: is no file of profiles", hint="mend it, or move it away") from None
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _nested(text: str) -> dict[str, str]:
    lines = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in lines}


def _of_process(command: str, name: str) -> Credentials:
    """What a profile's `credential_process` prints. Source: AWS SDKs and Tools Reference Guide,
    "Process credential provider"."""
    import json  # noqa: PLC0415 - start-up time
    import shlex  # noqa: PLC0415
    import subprocess  # noqa: PLC0415

    try:
        done = subprocess.run(  # noqa: S603 - the user's own command
            shlex.split(command), capture_output=True, timeout=PROCESS_SECONDS, check=True
        )
        found = json.loads(done.stdout)
        ends = found.get("Expiration")
        when = datetime.fromisoformat(ends).astimezone(UTC) if ends else None
        return Credentials(
            found["AccessKeyId"], found["SecretAccessKey"], found.get("SessionToken"), when
        )
    except (OSError, ValueError, KeyError, AttributeError, subprocess.SubprocessError):
        raise Refused(
            f"the credential_process of profile {name!r} gave no credentials",
            hint="run it by hand and see what it prints",
        ) from None
