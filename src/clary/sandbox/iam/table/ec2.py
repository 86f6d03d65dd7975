"""EC2: looking at networks, as checks of a stack do. None of these actions has resources.

SageMaker itself makes network interfaces for jobs, by their role (``platform``); the types of their resources are here.
"""

from __future__ import annotations

from clary.sandbox.iam.table.spec import Key, Need, ResourceType, Rows

_HEAD = "arn:${Partition}:ec2:${Region}:${Account}"
INTERFACE = ResourceType("ec2", "network-interface", f"{_HEAD}:network-interface/${{NetworkInterfaceId}}")
SUBNET = ResourceType("ec2", "subnet", f"{_HEAD}:subnet/${{SubnetId}}")
SECURITY_GROUP = ResourceType("ec2", "security-group", f"{_HEAD}:security-group/${{SecurityGroupId}}")

_REGION = (Key("ec2:Region", lambda call: [call.region]),)

ROWS: Rows = {
    operation: [Need(f"ec2:{operation}", keys=_REGION)]
    for operation in (
        "DescribeAvailabilityZones",
        "DescribeDhcpOptions",
        "DescribeInstanceTypeOfferings",
        "DescribeInstanceTypes",
        "DescribeNatGateways",
        "DescribeNetworkInterfaces",
        "DescribePrefixLists",
        "DescribeRegions",
        "DescribeRouteTables",
        "DescribeSecurityGroups",
        "DescribeSubnets",
        "DescribeVpcEndpoints",
        "DescribeVpcs",
    )
}
