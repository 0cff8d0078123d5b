"""`gateway-proxy backup`: the gateway's own rows in one portable file."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import click

from gateway_proxy.cli.environment import read_surroundings
from gateway_proxy.cli.progress import Progress
from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.storage.backup.dump import write_backup
from gateway_proxy.storage.backup.file import Header

STANDARD = Path("-")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
def backup(file: Path) -> None:
    """Write everything that the database holds to FILE (`-`: standard output).

    One consistent moment, taken beside gateways that serve; one compressed file that restores into either database.
    Tokens stand in it as digests, and credentials stay sealed: keep GATEWAY_SECRET_KEYS elsewhere, they are needed to
    use it.

    \b
    Examples:
      gateway-proxy backup gateway.backup
      docker compose exec -T gateway gateway-proxy backup - > gateway.backup
    """
    settings, clock = read_surroundings().settings, SystemClock()
    progress = Progress(clock, "{done} rows written…")
    with _open(file) as stream:
        work = write_backup(settings.database_url, stream, now=clock.now(), tell=progress.tell)
        header, counts = asyncio.run(work)
    click.echo(_said(header, counts), err=True)


@contextmanager
def _open(file: Path) -> Iterator[BinaryIO]:
    if file != STANDARD:
        with _replacing(file) as stream:
            yield stream
        return
    if sys.stdout.isatty():
        raise click.UsageError("a backup is not for a terminal; send it to a file or a program")
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


@contextmanager
def _replacing(file: Path) -> Iterator[BinaryIO]:
    """A file beside the wanted one, for its owner only, that takes its place when it is whole and on disk."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(file)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        _keep_name(file.parent)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror or 'cannot be written'}") from None


def _keep_name(folder: Path) -> None:
    """The file's name is in the folder's own data, which has to reach the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _said(header: Header, counts: Mapping[str, int]) -> str:
    said = f"{sum(counts.values()):,} rows of {len(counts)} tables, schema {header.revision}."
    if header.key_ids:
        said += f" Its credentials open with the secret keys {', '.join(header.key_ids)}, which are not in it."
    return said
