"""The only room that knows SageMaker: its limits, its requests, its jobs, its logs and the meaning of its failures."""
