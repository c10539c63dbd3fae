"""The outside worlds that a pool's tasks are given: where each is, by URL or by a key of a Secret.

Not here: connecting to them (`services`).
"""

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from background_tasks.api.faults import Fault, raise_faults
from background_tasks.api.fields import Maybe, Part, Subdomain, Text
from background_tasks.api.rules import rule, ruled


class SecretKey(Part):
    """One key of a Secret in the pool's namespace."""

    name: Subdomain = Field(description="Name of the Secret.")
    key: Annotated[str, Field(min_length=1, max_length=253)] = Field("url", description="Key in the Secret's data.")


class Service(Part):
    """Where a service is: a URL, or the key of a Secret that holds it."""

    model_config = ConfigDict(
        json_schema_extra=ruled(rule("has(self.url) != has(self.secretRef)", "give exactly one of url, secretRef"))
    )

    url: Maybe[Annotated[str, Field(min_length=1, max_length=2048)]] = Field(
        None,
        description="Address of the service, such as redis://redis:6379/0. One with a password belongs in a Secret.",
    )
    secret_ref: Maybe[SecretKey] = Field(None, description="Key of a Secret that holds the address.")

    @model_validator(mode="after")
    def _one_address(self) -> "Service":
        given = [name for name, value in (("url", self.url), ("secretRef", self.secret_ref)) if value is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise_faults([Fault((), f"give exactly one of url, secretRef; found {found}", bare=True)])
        return self


class GraphService(Service):
    """A FalkorDB server and the graph in it."""

    graph: Text = Field("knowledge", description="Name of the graph.")


class ModelService(Service):
    """An OpenAI-compatible endpoint."""

    model: Maybe[Text] = Field(None, description="Name of the model, as the endpoint knows it.")
    api_key_secret_ref: Maybe[SecretKey] = Field(None, description="Key of a Secret that holds the API key.")


class Services(Part):
    """The outside worlds that tasks of the pool are given."""

    redis: Maybe[Service] = Field(None, description="A Redis server.")
    knowledge_graph: Maybe[GraphService] = Field(None, description="A FalkorDB server and the graph in it.")
    chat_model: Maybe[ModelService] = Field(None, description="An OpenAI-compatible endpoint that answers.")
    embeddings: Maybe[ModelService] = Field(None, description="An OpenAI-compatible endpoint that embeds.")
