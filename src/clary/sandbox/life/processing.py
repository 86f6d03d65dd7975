"""The contract of processing containers (AWS developer guide, "Build Your Own Processing Container")."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

from clary.sagemaker.training_rules import SERVICE_RUNTIME
from clary.sandbox.life.beneath import read_beneath
from clary.sandbox.life.contract import Contract, write_json
from clary.sandbox.life.failures import JobFailed
from clary.sandbox.life.inputs import Downloads, below_opt_ml, processing_inputs
from clary.sandbox.life.outputs import Sync
from clary.sandbox.life.s3 import Address, address
from clary.sandbox.life.training import first_failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clary.sandbox.life.folder import Progress
    from clary.sandbox.model import ContainerSpec

_MESSAGE_BYTES = 1024


class ProcessingContract(Contract):
    """One processing job's containers."""

    @property
    def isolated(self) -> bool:
        """EnableNetworkIsolation."""
        return bool(self.request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False))

    @property
    def max_runtime(self) -> float:
        """MaxRuntimeInSeconds; a day when the request has none."""
        return float(self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", SERVICE_RUNTIME))

    def bring(self, downloads: Downloads) -> None:
        """Write the configuration, download the inputs and make the folders of the outputs."""
        for host in self.hosts:
            config = self.folder.opt_ml(host) / "config"
            write_json(config / "processingjobconfig.json", {**self.request, "ProcessingJobArn": self.job.arn})
            write_json(config / "resourceconfig.json", {"current_host": host, "hosts": list(self.hosts)})
            (self.folder.opt_ml(host) / "output").mkdir(parents=True, exist_ok=True)
        for relative, source in processing_inputs(self.job):
            folders = [root / relative for root in self.roots]
            downloads.fill(folders, source, source.get("S3DataDistributionType"))
        for relative, _, _ in self._outputs():
            for root in self.roots:
                (root / relative).mkdir(parents=True, exist_ok=True)

    def _outputs(self) -> Iterator[tuple[str, Address, bool]]:
        """Yield (path below /opt/ml, where to, whether continuously) of every output that the platform takes."""
        for one in self.request.get("ProcessingOutputConfig", {}).get("Outputs", ()):
            if one.get("AppManaged"):
                continue
            if "S3Output" not in one:
                raise JobFailed(
                    f"ClientError: The sandbox writes outputs to S3 only, and {one['OutputName']} goes elsewhere"
                )
            target = one["S3Output"]
            relative = below_opt_ml(target["LocalPath"], f"LocalPath of {one['OutputName']}", "/opt/ml/processing")
            yield relative, address(target["S3Uri"]), target["S3UploadMode"] == "Continuous"

    def spec(self, host: str) -> ContainerSpec:
        """The image with its own words, or with the request's."""
        app = self.request["AppSpecification"]
        entrypoint, arguments = app.get("ContainerEntrypoint"), app.get("ContainerArguments")
        return self.make_spec(host, app["ImageUri"], entrypoint, arguments, self.request.get("Environment", {}))

    def syncs(self, *, stored: bool) -> list[Sync]:  # noqa: ARG002 - outputs begin empty
        """Keep every Continuous output in step with its prefix."""
        clock = self.services.clock
        return [
            Sync(self.uploads, clock, self.roots, relative, target, stored=False)
            for relative, target, continuous in self._outputs()
            if continuous
        ]

    def take(self) -> Mapping[str, Any]:
        """Upload every EndOfJob output, and read the exit message."""
        for relative, target, continuous in self._outputs():
            if not continuous:
                self.uploads.tree(self.roots, relative, target)
        message = "".join(_message(read_beneath(root, "output/message", _MESSAGE_BYTES)) for root in self.roots)
        return {"ExitMessage": message} if message else {}

    def failure(self, exit_codes: Mapping[str, int]) -> str | None:
        """The exit code: processing containers have no failure file."""
        failed = {host: code for host, code in exit_codes.items() if code != 0}
        return f"AlgorithmError: , exit code: {first_failure(failed)}" if failed else None

    def begun(self, now: float) -> Mapping[str, Any]:
        """ProcessingStartTime, once."""
        return {} if "ProcessingStartTime" in self.job.describe else {"ProcessingStartTime": now}

    def over(self, now: float, progress: Progress) -> Mapping[str, Any]:  # noqa: ARG002 - nothing is billed
        """ProcessingEndTime."""
        return {"ProcessingEndTime": now}


def _message(data: bytes | None) -> str:
    """Return a message's text, without a character that the limit cut; raises JobFailed when it is not UTF-8."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(
            data or b"", final=data is None or len(data) < _MESSAGE_BYTES
        )
    except UnicodeDecodeError as error:
        raise JobFailed("AlgorithmError: /opt/ml/output/message is not UTF-8") from error
