"""`GET /v1/models` and `GET /v1/models/{id}`: the gateway's own model and the tenant's assistants, and no other."""

from dataclasses import dataclass
from urllib.parse import unquote

import msgspec

from openai_routes.assistants import ModelDirectory, TenantModels
from openai_routes.endpoint import Inbound
from openai_routes.errors import ModelUnknown
from openai_routes.stream import Answer
from openai_routes.wire import GATEWAY_MODEL, ModelCard, ModelList

GATEWAY_DESCRIPTION = "All tools of your team's gateway."


def model_cards(models: TenantModels, created: int) -> list[ModelCard]:
    """One card each: `mcp-gateway` first, then the assistants by name. `created` is in Unix seconds."""
    cards = [ModelCard(GATEWAY_MODEL, "model", created, "gateway", description=GATEWAY_DESCRIPTION)]
    cards.extend(
        ModelCard(name, "model", created, "gateway", description=models.assistants[name].description)
        for name in sorted(models.assistants)
        if name != GATEWAY_MODEL
    )
    return cards


@dataclass(frozen=True, slots=True)
class Models:
    """The two model endpoints. `created` is when this gateway started: assistants have no date that clients need."""

    directory: ModelDirectory
    created: int

    async def list_models(self, inbound: Inbound) -> Answer:
        """Answer `GET /v1/models` (OpenAI API reference, "List models")."""
        models = await self.directory.find_models(inbound.ctx.tenant.id)
        return Answer(200, msgspec.json.encode(ModelList("list", model_cards(models, self.created))))

    async def get_model(self, inbound: Inbound) -> Answer:
        """Answer `GET /v1/models/{id}` (OpenAI API reference, "Retrieve model").

        Raises:
            ModelUnknown: The tenant has no model of that id.
        """
        wanted = unquote(inbound.path_params["model_id"])
        if not wanted:  # the list's own path with a slash at its end
            return await self.list_models(inbound)
        models = await self.directory.find_models(inbound.ctx.tenant.id)
        for card in model_cards(models, self.created):
            if card.id == wanted:
                return Answer(200, msgspec.json.encode(card))
        raise ModelUnknown(wanted)
