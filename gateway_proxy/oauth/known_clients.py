"""Finding the client behind a client id, wherever its metadata lives. Decides nothing about what it may do."""

from dataclasses import dataclass

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.oauth import Client
from gateway_proxy.domain.oauth_errors import (
    ClientUnknown,
)
from gateway_proxy.oauth.client_metadata import ClientMetadataDocuments, is_document_url
from gateway_proxy.storage.sql.clients import find_client
from gateway_proxy.storage.sql.database import Database


@dataclass(frozen=True)
class KnownClients:
    """Registered clients from storage, and document clients from the network."""

    database: Database
    documents: ClientMetadataDocuments
    clock: Clock

    async def get(self, client_id: str, *, address: str) -> Client:
        """The client of that id.

        Raises:
            ClientUnknown: Not registered, or the registration expired unused.
            ClientDocumentUnusable: Its metadata document cannot be used.
            RateLimited: Too many document fetches from this address.
        """
        if is_document_url(client_id):
            return await self.documents.get(client_id, address=address)
        client = await self.database.read(find_client, client_id=client_id, now=self.clock.now())
        if client is None or client.kind != "registered":
            raise ClientUnknown
        return client
