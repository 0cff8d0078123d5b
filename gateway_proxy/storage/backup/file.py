"""The file of a backup: gzip over JSON lines, written and read as a stream. No database is known here.

The first line is the header: format, schema revision, the ids of the keys that its credentials are sealed under, and
the columns of each table with their kinds, so that a later version can read it without knowing the older schema. Then
each table: one line with its name, one array per row. The last line has the number of rows of each table and the
SHA-256 of everything before it; a file without it was cut off.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO, Final, TypeVar

import msgspec

from gateway_proxy.domain.errors import BackupInvalid
from gateway_proxy.storage.backup.columns import Kind

FORMAT: Final = "gateway-proxy backup"
VERSION: Final = 1
LONGEST_LINE: Final = 64 * 1024 * 1024
_LEVEL: Final = 6
_CUT: Final = "it was cut off: its last lines are missing"
_DAMAGED: Final = "it is damaged"

T = TypeVar("T")


class Header(msgspec.Struct, frozen=True, omit_defaults=False):
    """The first line. `tables` has, for each table in the order of restoring, the name and kind of each column."""

    revision: str
    created_at: datetime
    key_ids: list[str]
    tables: dict[str, list[tuple[str, Kind]]]
    format: str = FORMAT
    version: int = VERSION


class _TableLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    table: str


class _EndLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rows: dict[str, int]
    sha256: str


class _Envelope(msgspec.Struct, frozen=True):
    """What is read of a header before it is known to be one."""

    format: str = ""
    version: int = 0


class BackupWriter:
    """Writes one backup to a binary stream, which stays open."""

    def __init__(self, stream: BinaryIO, header: Header) -> None:
        self._gzip = gzip.GzipFile(filename="", fileobj=stream, mode="wb", compresslevel=_LEVEL, mtime=0)
        self._digest = hashlib.sha256()
        self._rows: dict[str, int] = {}
        self._table = ""
        self._line(header)

    def start_table(self, table: str) -> None:
        """The rows that follow are of this table."""
        self._table = table
        self._rows[table] = 0
        self._line(_TableLine(table))

    def add_rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Rows of the table, their values in the order of the header's columns."""
        for row in rows:
            self._line(tuple(row))
        self._rows[self._table] += len(rows)

    def finish(self) -> Mapping[str, int]:
        """Write the last line; how many rows of each table there are."""
        self._line(_EndLine(self._rows, self._digest.hexdigest()))
        self._gzip.close()
        return self._rows

    def _line(self, value: Any) -> None:
        line = msgspec.json.encode(value) + b"\n"
        self._digest.update(line)
        self._gzip.write(line)


class BackupReader:
    """Reads one backup from a binary stream. What it yields is to be believed only when `rows` has come to its end."""

    def __init__(self, stream: BinaryIO) -> None:
        """Read the header.

        Raises:
            BackupInvalid: It is no backup, or of a version that is not known here.
        """
        self._gzip = gzip.GzipFile(fileobj=stream, mode="rb")
        self._digest = hashlib.sha256()
        self.counts: dict[str, int] = {}
        line = self._next_line()
        self._digest.update(line)
        envelope = _decode(line, _Envelope, "it is not a backup of the gateway")
        if envelope.format != FORMAT:
            raise BackupInvalid("it is not a backup of the gateway")
        if envelope.version != VERSION:
            raise BackupInvalid(f"it is of version {envelope.version}, and this gateway reads version {VERSION}")
        self.header = _decode(line, Header, _DAMAGED)

    def batches(self, size: int) -> Iterator[tuple[str, list[list[Any]]]]:
        """The rows, up to `size` of one table at a time, in the order in which they can be inserted.

        Raises:
            BackupInvalid: The file is cut off or damaged.
        """
        table, batch = "", list[list[Any]]()
        for value in self._values():
            if isinstance(value, list):
                if not table or len(value) != len(self.header.tables[table]):
                    raise BackupInvalid(_DAMAGED)
                batch.append(value)
                self.counts[table] += 1
            if batch and (len(batch) == size or not isinstance(value, list)):
                yield table, batch
                batch = []
            if isinstance(value, _TableLine):
                table = self._start(value.table)

    def _start(self, table: str) -> str:
        if table not in self.header.tables or table in self.counts:
            raise BackupInvalid(_DAMAGED)
        self.counts[table] = 0
        return table

    def _values(self) -> Iterator[list[Any] | _TableLine | _EndLine]:
        while True:
            line = self._next_line()
            if line.startswith(b'{"rows"'):
                end = _decode(line, _EndLine, _DAMAGED)
                self._check(end)
                yield end
                return
            self._digest.update(line)
            yield _decode(line, list, _DAMAGED) if line.startswith(b"[") else _decode(line, _TableLine, _DAMAGED)

    def _check(self, end: _EndLine) -> None:
        if end.sha256 != self._digest.hexdigest() or end.rows != self.counts:
            raise BackupInvalid("it is damaged: its checksum does not fit")
        if self._read(1):
            raise BackupInvalid("it is damaged: something stands behind its end")

    def _next_line(self) -> bytes:
        line = self._read(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise BackupInvalid(_CUT if len(line) < LONGEST_LINE else _DAMAGED)
        return line

    def _read(self, limit: int) -> bytes:
        try:
            return self._gzip.readline(limit)
        except EOFError:
            raise BackupInvalid(_CUT) from None
        except (gzip.BadGzipFile, zlib.error):
            raise BackupInvalid("it is damaged, or not a backup of the gateway") from None


def _decode(line: bytes, kind: type[T], fault: str) -> T:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BackupInvalid(fault) from None
