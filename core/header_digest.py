"""The SHA-256 of a manifest's metadata beside it: pages of rows have sums in Parquet, the footer has none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pyarrow as pa

from .schema import METADATA_KEY

DIGEST_KEY = b"noisyfer_sha256"


def with_digest(schema: pa.Schema) -> pa.Schema:
    """A manifest's schema with the digest of its metadata, in hexadecimal digits."""
    return schema.with_metadata({**schema.metadata, DIGEST_KEY: _digest(schema.metadata[METADATA_KEY])})


def is_as_written(metadata: Mapping[bytes, bytes]) -> bool:
    """Whether the metadata has its digest; true of a manifest without one, as other programs write them."""
    return metadata.get(DIGEST_KEY) in (None, _digest(metadata[METADATA_KEY]))


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
