"""Read handwritten digits: train several models beside each other, keep the best.

    python examples/digits.py
    clary run examples/digits.py:digits --stack sandbox --input models=8

The data are the 1,797 real digits that ship with scikit-learn. Every checkpoint's result is recorded when it is done:
kill the run at any point, resume it, and only what was not finished runs.
"""

import time
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from clary import checkpoint, flow, log, save

Split = dict[str, np.ndarray]


@checkpoint
def prepare(seed: int) -> Split:
    """Load the digits and put a fifth of them aside: the test set that no model sees before the end."""
    pixels, labels = load_digits(return_X_y=True)
    rest, test, rest_labels, test_labels = train_test_split(pixels, labels, test_size=0.2, random_state=seed)
    fit, check, fit_labels, check_labels = train_test_split(rest, rest_labels, test_size=0.25, random_state=seed)
    print(f"{len(fit)} digits to learn from, {len(check)} to choose by, {len(test)} to test with")
    return {
        "fit": fit,
        "fit_labels": fit_labels,
        "check": check,
        "check_labels": check_labels,
        "test": test,
        "test_labels": test_labels,
    }


@checkpoint
def train(width: float, data: Split, pause: float) -> dict[str, Any]:
    """Fit one model and score it on digits it has not seen."""
    time.sleep(pause)  # stands for the minutes that a larger model takes
    model = make_pipeline(StandardScaler(), SVC(C=5.0, gamma=width)).fit(data["fit"], data["fit_labels"])
    score = float(model.score(data["check"], data["check_labels"]))
    print(f"width {width:.4f}: {score:.1%} right", flush=True)
    return {"width": width, "score": score, "model": model}


@checkpoint
def pick(candidates: list[dict[str, Any]]) -> dict[str, Any]:
    """Choose the model that did best."""
    return max(candidates, key=lambda one: one["score"])


@checkpoint
def evaluate(model: Pipeline, data: Split) -> dict[str, Any]:
    """Test the chosen model on the digits put aside."""
    right = model.predict(data["test"])
    mistakes = confusion_matrix(data["test_labels"], right)
    return {"accuracy": float(np.mean(right == data["test_labels"])), "confusion": mistakes.tolist()}


@flow(workers=2)
def digits(models: int = 8, seed: int = 7, pause: float = 0.0) -> dict[str, Any]:
    """Train ``models`` classifiers, keep the best, and return how well it reads digits."""
    data = prepare(seed)
    widths = [float(width) for width in np.geomspace(0.0005, 0.05, models)]
    candidates = train.map(widths, data=data, pause=pause).results()
    best = pick(candidates)
    result = evaluate(best["model"], data)
    log(accuracy=result["accuracy"], width=best["width"])
    save("model", best["model"])
    save("confusion", result["confusion"])
    return {"accuracy": round(result["accuracy"], 4), "width": best["width"], "models": models}


if __name__ == "__main__":
    run = digits.run(models=8)
    print(f"run {run.id}: {run.result()}")
