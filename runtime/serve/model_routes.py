"""Routes about models: `/v1/models`, and the Open Inference Protocol's metadata, with Triton's extensions of it.

Sources: Triton Inference Server, protocol/extension_model_repository.md, extension_model_configuration.md and
extension_statistics.md.
"""

from __future__ import annotations

from typing import Any

from fxsr.extras import needs
from fxsr.runtime.serve.openapi import Responses, problems
from fxsr.runtime.serve.protocol import VERSION, configure_model, describe_model
from fxsr.runtime.serve.service import ServedModel, Service

with needs("serve"):
    from fastapi import APIRouter

_REFUSED = (401, 403, 421)


class ModelRoutes:
    """What the server says about its models."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def add_to(self, router: APIRouter) -> None:
        """Add the routes to a router."""
        listed, known = problems(*_REFUSED), problems(*_REFUSED, 404)
        router.add_api_route("/v1/models", self.models, responses=listed)
        index: Responses = problems(400, 408, 413, 415, 429, 503) | listed
        router.add_api_route("/v2/repository/index", self.index, methods=["POST"], responses=index)
        router.add_api_route("/v2/models/stats", self.all_statistics, responses=listed)
        for path in ("/v2/models/{name}", f"/v2/models/{{name}}/versions/{VERSION}"):
            router.add_api_route(path, self.model, responses=known)
            router.add_api_route(f"{path}/config", self.config, responses=known)
            router.add_api_route(f"{path}/stats", self.statistics, responses=known)
            router.add_api_route(f"{path}/ready", self.model_ready, responses=known | problems(503))

    async def models(self) -> dict[str, Any]:
        """All models, the default first."""
        return {"models": [self._described(model) for model in self._service.models.values()]}

    async def index(self) -> list[dict[str, str]]:
        """All models, as Triton lists those of a repository."""
        return [
            {
                "name": name,
                "version": VERSION,
                "state": "UNAVAILABLE" if (reason := self._service.scheduler.failing(name)) else "READY",
                "reason": reason or "",
            }
            for name in self._service.models
        ]

    async def model(self, name: str) -> dict[str, Any]:
        """Inputs and outputs of a model."""
        return describe_model(self._service.find(name))

    async def config(self, name: str) -> dict[str, Any]:
        """A model's configuration, as Triton describes it."""
        return configure_model(self._service.find(name))

    async def statistics(self, name: str) -> dict[str, Any]:
        """Requests, tiles and times of a model since the server began. Inferences are tiles."""
        return {"model_stats": [self._statistics(self._service.find(name))]}

    async def all_statistics(self) -> dict[str, Any]:
        """Requests, tiles and times of all models."""
        return {"model_stats": [self._statistics(model) for model in self._service.models.values()]}

    async def model_ready(self, name: str) -> dict[str, Any]:
        """Whether a model exists and works."""
        model = self._service.find(name)
        self._service.check_ready(model.name)
        return {"name": model.name, "ready": True}

    def _statistics(self, model: ServedModel) -> dict[str, Any]:
        return self._service.statistics.described(model.name, VERSION, model.info.device.index)

    def _described(self, model: ServedModel) -> dict[str, Any]:
        info, facts = model.info, model.info.facts
        return {
            "name": model.name,
            "default": model is self._service.default,
            "ready": not self._service.scheduler.failing(model.name),
            "model": info.name,
            "variant": facts.variant if facts else None,
            "licence": facts.licence if facts else None,
            "scale": info.scale,
            "t": info.baked_t,
            "precision": info.precision,
            "backend": info.backend,
            "device": str(info.device),
            "tile": model.tile,
            "overlap": model.overlap,
        }
