"""Inside the job: from the container's first process to its exit code. Standard library and the object-store client."""
