"""EC2: looking at networks, as checks of a stack do. None of these actions has resources."""

from __future__ import annotations

from clary.sandbox.iam.table.spec import Key, Need, Rows

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
