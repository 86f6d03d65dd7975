"""The contract of training containers (AWS developer guide, "Use your own training algorithms")."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from clary.sagemaker.training_rules import SERVICE_RUNTIME
from clary.sandbox.life.beneath import read_beneath
from clary.sandbox.life.contract import Contract, write_json
from clary.sandbox.life.inputs import CHECKPOINTS, DATA, Channel, Downloads, below_opt_ml, channels
from clary.sandbox.life.outputs import Sync
from clary.sandbox.life.pipes import Feeder
from clary.sandbox.life.s3 import Address, address, share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.sandbox.life.folder import Progress
    from clary.sandbox.model import ContainerSpec

_FAILURE_CHARACTERS = 1024
_FAILURE_BYTES = 4 * _FAILURE_CHARACTERS


class TrainingContract(Contract):
    """One training job's containers."""

    @property
    def isolated(self) -> bool:
        """EnableNetworkIsolation."""
        return bool(self.request.get("EnableNetworkIsolation", False))

    @property
    def max_runtime(self) -> float:
        """MaxRuntimeInSeconds; a day when the request has none."""
        return float(self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", SERVICE_RUNTIME))

    @property
    def spot(self) -> bool:
        """EnableManagedSpotTraining."""
        return bool(self.request.get("EnableManagedSpotTraining", False))

    @property
    def max_wait(self) -> float | None:
        """MaxWaitTimeInSeconds of a spot job."""
        limit = self.request.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
        return float(limit) if self.spot and limit is not None else None

    @property
    def retries(self) -> int:
        """RetryStrategy.MaximumRetryAttempts."""
        return int(self.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0))

    @property
    def can_be_adopted(self) -> bool:
        """A pipe that lost its writer has ended for its reader: such a job cannot go on."""
        return all(channel.mode != "Pipe" for channel in channels(self.job))

    @property
    def _checkpoints(self) -> tuple[str, str] | None:
        """Return (S3 URI, path below /opt/ml) of the checkpoints, if there are any."""
        config = self.request.get("CheckpointConfig")
        if not config:
            return None
        return config["S3Uri"], below_opt_ml(config.get("LocalPath", CHECKPOINTS), "CheckpointConfig.LocalPath")

    def bring(self, downloads: Downloads) -> None:
        """Write the configuration, restore checkpoints and download the channels that are files."""
        found = channels(self.job)
        for root in self.roots:
            for name in ("model", "output/data", DATA):
                (root / name).mkdir(parents=True, exist_ok=True)
        for host in self.hosts:
            self._configure(host, found)
        if self._checkpoints is not None:
            uri, relative = self._checkpoints
            downloads.restore([root / relative for root in self.roots], uri)
        for channel in found:
            if channel.mode != "Pipe":
                folders = [root / DATA / channel.name for root in self.roots]
                downloads.fill(folders, channel.source, channel.distribution)

    def _configure(self, host: str, found: list[Channel]) -> None:
        config = self.folder.opt_ml(host) / "input/config"
        write_json(config / "hyperparameters.json", self.request.get("HyperParameters", {}))
        write_json(config / "resourceconfig.json", self._resource_config(host))
        write_json(config / "inputdataconfig.json", {channel.name: _described(channel) for channel in found})
        if self._checkpoints is not None:
            local = self.request["CheckpointConfig"].get("LocalPath", CHECKPOINTS)
            write_json(config / "checkpointconfig.json", {"LocalPath": local})

    def _resource_config(self, host: str) -> dict[str, Any]:
        numbered = iter(f"algo-{number + 1}" for number in range(len(self.hosts)))
        groups = [
            {
                "instance_group_name": group.group,
                "instance_type": group.instance_type,
                "hosts": sorted(next(numbered) for _ in range(group.count)),
            }
            for group in self.machines
        ]
        mine = next(group for group in groups if host in group["hosts"])
        return {
            "current_host": host,
            "current_instance_type": mine["instance_type"],
            "current_group_name": mine["instance_group_name"],
            "hosts": list(self.hosts),
            "instance_groups": groups,
            "network_interface_name": "eth0",
        }

    def spec(self, host: str) -> ContainerSpec:
        """The image with ``train``, or with the request's own words."""
        algorithm = self.request["AlgorithmSpecification"]
        entrypoint = algorithm.get("ContainerEntrypoint")
        arguments = algorithm.get("ContainerArguments")
        if entrypoint is None and arguments is None:
            arguments = ["train"]
        environment = {
            **self.request.get("Environment", {}),
            "TRAINING_JOB_NAME": self.job.name,
            "TRAINING_JOB_ARN": self.job.arn,
        }
        streamed = [f"/opt/ml/{DATA}/{channel.name}" for channel in channels(self.job) if channel.mode == "FastFile"]
        return self.make_spec(host, algorithm.get("TrainingImage", ""), entrypoint, arguments, environment, streamed)

    def syncs(self, *, stored: bool) -> list[Sync]:
        """Keep the checkpoint folder in step with its prefix."""
        if self._checkpoints is None:
            return []
        uri, relative = self._checkpoints
        return [Sync(self.uploads, self.services.clock, self.roots, relative, address(uri), stored=stored)]

    def feeders(self) -> list[Feeder]:
        """Feed every channel in Pipe mode, on every host."""
        downloads = Downloads(self.job, self.objects, lambda: None)
        started = []
        for channel in channels(self.job):
            if channel.mode != "Pipe":
                continue
            found = downloads.listed(channel.source)
            for number, root in enumerate(self.roots):
                mine = share(found, channel.distribution, number, len(self.roots))
                started.append(Feeder(self.objects, channel, mine, root / DATA, self.folder.spool()))
        return started

    def take(self) -> Mapping[str, Any]:
        """Upload the model and the output data, as archives or as they are."""
        target, spool = self._output, self.folder.spool()
        if self.request["OutputDataConfig"].get("CompressionType") == "NONE":
            self.uploads.tree(self.roots, "output/data", target.below("output", "data"))
            self.uploads.tree(self.roots, "model", target.below("output", "model"))
            return {"ModelArtifacts": {"S3ModelArtifacts": f"{target.below('output', 'model')}/"}}
        self.uploads.archive(self.roots, "output/data", target.below("output", "output.tar.gz"), spool, empty=False)
        model = target.below("output", "model.tar.gz")
        self.uploads.archive(self.roots, "model", model, spool, empty=True)
        return {"ModelArtifacts": {"S3ModelArtifacts": str(model)}}

    @property
    def _output(self) -> Address:
        return address(self.request["OutputDataConfig"]["S3OutputPath"]).below(self.job.name)

    def failure(self, exit_codes: Mapping[str, int]) -> str | None:
        """The text of a failure file, or the exit code."""
        failed = {host: code for host, code in exit_codes.items() if code != 0}
        if not failed:
            return None
        for host in sorted(failed):
            text = read_beneath(self.folder.opt_ml(host), "output/failure", _FAILURE_BYTES)
            if text is not None and text.strip():
                return "AlgorithmError: " + text.decode("utf-8", "replace")[:_FAILURE_CHARACTERS]
        return f"AlgorithmError: , exit code: {first_failure(failed)}"

    def begun(self, now: float) -> Mapping[str, Any]:
        """TrainingStartTime, once."""
        return {} if "TrainingStartTime" in self.job.describe else {"TrainingStartTime": now}

    def over(self, now: float, progress: Progress) -> Mapping[str, Any]:
        """Billing runs from TrainingStartTime to the end, without the time an interrupted job had no machine."""
        start = self.job.describe.get("TrainingStartTime")
        if start is None:
            return {}
        seconds = max(1, math.ceil(now - start))
        billable = max(1, math.ceil(now - start - progress.paused))
        return {"TrainingEndTime": now, "TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": billable}


def first_failure(failed: Mapping[str, int]) -> int:
    """Return the exit code that explains best: not one of a host that was ended because another had failed."""
    own = [code for _, code in sorted(failed.items()) if code != 137]
    return (own or sorted(failed.values()))[0]


def _described(channel: Channel) -> dict[str, str]:
    config = {
        "TrainingInputMode": channel.mode,
        "S3DistributionType": channel.distribution,
        "RecordWrapperType": channel.record_wrapper or "None",
    }
    if channel.content_type is not None:
        config["ContentType"] = channel.content_type
    return config
