"""Registers models as people do, with MLflow's own client. Runs in MLflow's environment, not in ours.

Arguments: the server's URL, and ONNX files as NAME=PATH. Each becomes a new version of the registered model NAME; the
alias ``champion`` stays at version 1. Prints, per file, the paths and digests of what MLflow made of it, as JSON.
"""

import hashlib
import json
import sys
from pathlib import Path

import mlflow  # type: ignore[import-not-found]  # only where this runs
import mlflow.onnx  # type: ignore[import-not-found]
import onnx


def main(url: str, *models: str) -> None:
    """Register the models."""
    mlflow.set_tracking_uri(url)
    client = mlflow.MlflowClient()
    made = []
    for model in models:
        name, _, path = model.partition("=")
        with mlflow.start_run():
            logged = mlflow.onnx.log_model(
                onnx.load(path), name="model", registered_model_name=name, pip_requirements=["onnx"]
            )
        folder = Path(mlflow.artifacts.download_artifacts(logged.model_uri))
        files = {
            str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in folder.rglob("*")
            if file.is_file()
        }
        made.append(files)
        if str(logged.registered_model_version) == "1":
            client.set_registered_model_alias(name, "champion", "1")
    sys.stdout.write(json.dumps(made) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
