"""Runs, metrics and models in MLflow.

May import every other package but `report`; the stages, the report and the command import it.
"""

import os

# Here: MLflow asks for it when it is imported, by whichever module of these comes first.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
