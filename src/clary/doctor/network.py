"""The stack's VPC: whether a job in its subnets can reach S3, and whether its security groups let it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clary.doctor.findings import Check, Finding, failed, ok, warning
from clary.doctor.runner import side_by_side

if TYPE_CHECKING:
    from clary.doctor.subject import Subject

_ANYWHERE = "0.0.0.0/0"
_HTTPS = 443


def _route(subject: Subject) -> Finding | None:
    """A gateway endpoint in the subnet's route table, an interface endpoint in its VPC, or a way out."""
    subnets = list(subject.settings().subnets)
    if not subnets:
        return None
    found = _described(subject, "ec2:DescribeSubnets", "Subnets", SubnetIds=subnets)
    vpcs = sorted({subnet["VpcId"] for subnet in found})
    if len(vpcs) > 1:
        return failed(
            f"The subnets are in several VPCs: {', '.join(vpcs)}.", "Name subnets of one VPC in the settings."
        )
    within = [{"Name": "vpc-id", "Values": vpcs}]
    tables, endpoints = side_by_side(
        [
            lambda: _described(subject, "ec2:DescribeRouteTables", "RouteTables", Filters=within),
            lambda: _described(subject, "ec2:DescribeVpcEndpoints", "VpcEndpoints", Filters=within),
        ]
    )
    service = f"com.amazonaws.{subject.aws.region}.s3"
    usable = [each for each in endpoints if each["ServiceName"] == service and each.get("State") == "available"]
    ways = {subnet: _way(_table_of(subnet, tables), usable) for subnet in subnets}
    return _judged(ways, tables, vpcs[0], service)


def _judged(ways: Mapping[str, str | None], tables: Sequence[Any], vpc: str, service: str) -> Finding:
    used = sorted({_table_of(subnet, tables).get("RouteTableId", "") for subnet in ways})
    fix = (
        f"aws ec2 create-vpc-endpoint --vpc-id {vpc} --service-name {service} --route-table-ids "
        f"{' '.join(filter(None, used))}"
    )
    cut_off = [subnet for subnet, way in ways.items() if way is None]
    if cut_off:
        return failed(f"No way to S3 from {', '.join(cut_off)} (neither an endpoint for S3 nor a NAT gateway).", fix)
    public = [subnet for subnet, way in ways.items() if (way or "").startswith("igw-")]
    if public:
        return warning(
            f"{', '.join(public)} reaches S3 by an internet gateway only; the network interfaces of jobs get no public "
            "address, so that does not serve them.",
            fix,
        )
    return ok("; ".join(f"{subnet} by {way}" for subnet, way in ways.items()))


def _way(table: Mapping[str, Any], endpoints: Iterable[Mapping[str, Any]]) -> str | None:
    """Return what leads from a route table to S3, the best first; None when nothing does."""
    for endpoint in endpoints:
        if endpoint.get("VpcEndpointType") == "Interface" and endpoint.get("PrivateDnsEnabled"):
            return str(endpoint["VpcEndpointId"])
        if table.get("RouteTableId") in endpoint.get("RouteTableIds", ()):
            return str(endpoint["VpcEndpointId"])
    out = [
        route
        for route in table.get("Routes", ())
        if route.get("DestinationCidrBlock") == _ANYWHERE and route.get("State") != "blackhole"
    ]
    targets = ("NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "InstanceId", "GatewayId")
    return next((str(route[target]) for route in out for target in targets if route.get(target)), None)


def _table_of(subnet: str, tables: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the route table of a subnet: its own, else its VPC's main one."""
    main: Mapping[str, Any] = {}
    for table in tables:
        for association in table.get("Associations", ()):
            if association.get("SubnetId") == subnet:
                return table
            if association.get("Main"):
                main = table
    return main


def _security_groups(subject: Subject) -> Finding | None:
    """There, of the subnets' VPC, and with a way out to port 443."""
    settings = subject.settings()
    groups, subnets = list(settings.security_group_ids), list(settings.subnets)
    if not groups:
        return None
    found, placed = side_by_side(
        [
            lambda: _described(subject, "ec2:DescribeSecurityGroups", "SecurityGroups", GroupIds=groups),
            lambda: _described(subject, "ec2:DescribeSubnets", "Subnets", SubnetIds=subnets) if subnets else [],
        ]
    )
    vpcs = {subnet["VpcId"] for subnet in placed}
    foreign = [group["GroupId"] for group in found if vpcs and group["VpcId"] not in vpcs]
    if foreign:
        return failed(
            f"{', '.join(foreign)} belongs to another VPC than the subnets ({', '.join(sorted(vpcs))}).",
            "Name security groups of the subnets' VPC in the settings.",
        )
    if not any(_lets_out(rule) for group in found for rule in group.get("IpPermissionsEgress", ())):
        return failed(
            f"{', '.join(groups)} lets nothing out to port {_HTTPS}: a job could not reach S3.",
            f"aws ec2 authorize-security-group-egress --group-id {groups[0]} --protocol tcp --port {_HTTPS} --cidr "
            f"{_ANYWHERE}",
        )
    return ok(", ".join(groups))


def _lets_out(rule: Mapping[str, Any]) -> bool:
    if rule.get("IpProtocol") == "-1":
        return True
    return rule.get("IpProtocol") == "tcp" and rule.get("FromPort", 0) <= _HTTPS <= rule.get("ToPort", 65535)


def _described(subject: Subject, action: str, member: str, **request: Any) -> list[dict[str, Any]]:
    """Return all that an EC2 description lists; a name that does not exist is an error of the service."""
    named = next((", ".join(value) for key, value in request.items() if key.endswith("Ids")), None)
    operation = {
        "ec2:DescribeSubnets": "describe_subnets",
        "ec2:DescribeRouteTables": "describe_route_tables",
        "ec2:DescribeVpcEndpoints": "describe_vpc_endpoints",
        "ec2:DescribeSecurityGroups": "describe_security_groups",
    }[action]
    with subject.aws.call(action, resource=named) as ec2:
        return [each for page in ec2.get_paginator(operation).paginate(**request) for each in page[member]]


CHECKS = (
    Check(
        "s3-route",
        "Route to S3",
        _route,
        ("ec2:DescribeSubnets", "ec2:DescribeRouteTables", "ec2:DescribeVpcEndpoints"),
    ),
    Check(
        "security-groups",
        "Security groups",
        _security_groups,
        ("ec2:DescribeSecurityGroups", "ec2:DescribeSubnets"),
    ),
)
