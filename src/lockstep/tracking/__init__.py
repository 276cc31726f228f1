"""Runs, figures and models in MLflow.

May import every other package but `report`; the stages, the report and the command import it.
"""
