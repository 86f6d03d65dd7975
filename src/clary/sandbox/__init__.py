"""The local SageMaker: a loopback endpoint that speaks the AWS API and really runs the containers."""
