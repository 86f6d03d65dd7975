"""Executing the body of a flow: who a call is, what is replayed, what is recorded. Runs inside the job."""
