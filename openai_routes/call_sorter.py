"""Whose call is it: ours is withheld, the client's goes on at once, renumbered from 0. One instance for each turn."""

from collections.abc import Iterable, Mapping

from openai_routes.turn import Call, CallDelta


class _Seen:
    __slots__ = ("arguments", "decided", "id", "is_client", "name", "out")

    def __init__(self, call_id: str) -> None:
        self.id = call_id
        self.name = ""
        self.arguments: list[str] = []
        self.decided = False
        self.is_client = False
        self.out = 0


class CallSorter:
    """Sorts the calls of one turn. A name that nobody has is ours: the model then hears that it does not exist."""

    def __init__(self, own: Mapping[str, str], client: Mapping[str, str]) -> None:
        self._own = own
        self._client = client
        self._client_names = {name: sent for sent, name in client.items()}
        self._seen: list[_Seen] = []
        self._clients = 0

    @property
    def calls(self) -> list[Call]:
        """Every call of the turn in order, under the names that the provider knows."""
        return [Call(s.id, s.name, "".join(s.arguments)) for s in self._seen]

    @property
    def own_calls(self) -> list[Call]:
        """The calls that the gateway runs."""
        return [Call(s.id, s.name, "".join(s.arguments)) for s in self._seen if not s.is_client]

    @property
    def client_calls(self) -> list[Call]:
        """The calls that the client gets."""
        return [Call(s.id, s.name, "".join(s.arguments)) for s in self._seen if s.is_client]

    def feed(self, delta: CallDelta) -> Iterable[CallDelta]:
        """Take a piece; what of it (or of what was withheld) the client gets. A name is whole when arguments begin."""
        if delta.position == len(self._seen):
            self._seen.append(_Seen(delta.id))
        seen = self._seen[delta.position]
        seen.name = delta.name
        if not delta.arguments:
            return ()
        seen.arguments.append(delta.arguments)
        if not seen.decided:
            return self._decide(seen)
        return (CallDelta(seen.out, "", "", delta.arguments),) if seen.is_client else ()

    def finish(self) -> Iterable[CallDelta]:
        """Decide what had no arguments; the pieces that the client gets of it."""
        return [piece for seen in self._seen if not seen.decided for piece in self._decide(seen)]

    def _decide(self, seen: _Seen) -> list[CallDelta]:
        seen.decided = True
        if seen.name not in self._client and seen.name not in self._own:
            seen.name = self._client_names.get(seen.name, seen.name)
        seen.is_client = seen.name in self._client
        if not seen.is_client:
            return []
        seen.out = self._clients
        self._clients += 1
        arguments = "".join(seen.arguments)
        first = CallDelta(seen.out, seen.id, self._client[seen.name], "")
        return [first, CallDelta(seen.out, "", "", arguments)] if arguments else [first]
