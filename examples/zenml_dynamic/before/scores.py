"""Fits one model for each region and keeps the best. A dynamic pipeline of ZenML."""

from typing import Annotated

from zenml import get_step_context, log_metadata, pipeline, save_artifact, step, unmapped


@step
def regions() -> list[str]:
    """Name the regions."""
    return ["north", "south", "west"]


@step
def readings() -> dict[str, list[float]]:
    """Read what was measured."""
    return {"north": [1.0, 2.0, 3.0], "south": [4.0, 4.0], "west": [9.0, 1.0]}


@step
def fit(region: str, data: dict[str, list[float]]) -> tuple[Annotated[str, "name"], Annotated[float, "error"]]:
    """Fit a region's readings; return its name and the error."""
    values = data[region]
    mean = sum(values) / len(values)
    error = sum((value - mean) ** 2 for value in values) / len(values)
    print(f"{get_step_context().step_run.name}: {region}")
    return region, error


@step
def best(names: list[str], errors: list[float]) -> str:
    """Choose the model with the least error."""
    chosen = names[errors.index(min(errors))]
    log_metadata({"best": chosen, "models": len(names)})
    save_artifact({"name": chosen, "error": min(errors)}, "best")
    return chosen


@pipeline(dynamic=True, enable_cache=False)
def scores(at_most: int = 10) -> str:
    """Fit every region and keep the best."""
    found = regions()
    if len(found.load()) > at_most:
        raise ValueError("too many regions")
    names, errors = fit.map(found, data=unmapped(readings())).unpack()
    return best(names, errors)


if __name__ == "__main__":
    run = scores()
    print(run.status)
