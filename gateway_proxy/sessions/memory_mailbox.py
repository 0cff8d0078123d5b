"""Letters within one process: the embedded default, where the only worker writes to itself.

`PostOffice` joins several mailboxes of one process; nothing here reaches another one.
"""

from gateway_proxy.sessions.mailbox import Letter, Pigeonholes, Take, new_worker_id, stamped


class PostOffice:
    """The mailboxes of one process by worker id."""

    def __init__(self) -> None:
        self.mailboxes: dict[str, MemoryMailbox] = {}


class MemoryMailbox:
    """Delivers at once, in the sender's task. `close` makes the worker unknown."""

    def __init__(self, office: PostOffice | None = None) -> None:
        self.worker_id = new_worker_id()
        self._office = office or PostOffice()
        self._holes = Pigeonholes()
        self._office.mailboxes[self.worker_id] = self

    def on(self, kind: str, take: Take) -> None:
        self._holes.on(kind, take)

    async def send(self, worker_id: str, letter: Letter) -> bool:
        letter = stamped(letter, self.worker_id)
        mailbox = self._office.mailboxes.get(worker_id)
        if mailbox is None:
            return False
        await mailbox._holes.deliver(letter)
        return True

    async def broadcast(self, letter: Letter) -> None:
        letter = stamped(letter, self.worker_id)
        for mailbox in list(self._office.mailboxes.values()):
            if mailbox is not self:
                await mailbox._holes.deliver(letter)

    def close(self) -> None:
        """The worker is gone."""
        self._office.mailboxes.pop(self.worker_id, None)
