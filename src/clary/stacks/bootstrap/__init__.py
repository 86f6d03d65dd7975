"""What a stack stands on in AWS, made as one CloudFormation stack: bucket, repository, roles."""
