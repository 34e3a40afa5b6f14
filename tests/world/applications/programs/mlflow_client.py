"""MLflow's own client: an experiment, a run with metrics, and an artifact that is uploaded and downloaded."""

import json
import sys
from pathlib import Path

import mlflow

mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("tea")
Path("leaves.txt").write_text("leaves\n" * 20_000)
with mlflow.start_run() as run:
    for step in range(3):
        mlflow.log_metric("strength", step / 2, step=step)
    mlflow.log_param("kind", "green")
    mlflow.log_artifact("leaves.txt")
client = mlflow.MlflowClient()
downloaded = client.download_artifacts(run.info.run_id, "leaves.txt", ".")
history = [point.value for point in client.get_metric_history(run.info.run_id, "strength")]
runs = mlflow.search_runs(experiment_names=["tea"], output_format="list")
print(json.dumps([history, [found.data.params for found in runs], len(Path(downloaded).read_text())]))
