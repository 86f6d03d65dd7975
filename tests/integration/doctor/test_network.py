"""The stack's subnets with and without a way to S3, and its security groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from clary.doctor.findings import Status
from integration.doctor.conftest import applies, look

if TYPE_CHECKING:
    from clary import testing
    from clary.stacks.model import Stack


@dataclass
class Network:
    """A VPC with one private subnet, a route table of its own and a security group."""

    ec2: Any
    vpc: str
    subnet: str
    table: str
    group: str

    def settings(self, **changes: Any) -> dict[str, Any]:
        return {"settings": {"subnets": [self.subnet], "security_group_ids": [self.group], **changes}}


@pytest.fixture
def network(sandbox: testing.Sandbox) -> Network:
    ec2 = sandbox.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.7.1.0/24")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    group = ec2.create_security_group(GroupName="jobs", Description="jobs", VpcId=vpc)["GroupId"]
    return Network(ec2, vpc, subnet, table, group)


def test_a_stack_without_a_vpc_has_nothing_to_look_at(stack: Stack) -> None:
    assert not applies("s3-route", stack)
    assert not applies("security-groups", stack)


def test_a_private_subnet_without_a_way_fails_until_it_has_an_endpoint(stack: Stack, network: Network) -> None:
    cut_off = look("s3-route", stack, **network.settings())
    assert cut_off.status is Status.FAILED
    assert network.subnet in cut_off.summary
    command = f"aws ec2 create-vpc-endpoint --vpc-id {network.vpc} --service-name com.amazonaws.us-east-1.s3"
    assert str(cut_off.fix) == f"{command} --route-table-ids {network.table}"
    made = network.ec2.create_vpc_endpoint(
        VpcId=network.vpc, ServiceName="com.amazonaws.us-east-1.s3", RouteTableIds=[network.table]
    )
    found = look("s3-route", stack, **network.settings())
    assert found.status is Status.OK
    assert made["VpcEndpoint"]["VpcEndpointId"] in found.summary


def test_an_endpoint_of_another_service_does_not_count(stack: Stack, network: Network) -> None:
    network.ec2.create_vpc_endpoint(
        VpcId=network.vpc, ServiceName="com.amazonaws.us-east-1.dynamodb", RouteTableIds=[network.table]
    )
    assert look("s3-route", stack, **network.settings()).status is Status.FAILED


def test_an_interface_endpoint_serves_the_whole_vpc(stack: Stack, network: Network) -> None:
    network.ec2.create_vpc_endpoint(
        VpcId=network.vpc,
        ServiceName="com.amazonaws.us-east-1.s3",
        VpcEndpointType="Interface",
        SubnetIds=[network.subnet],
        PrivateDnsEnabled=True,
    )
    assert look("s3-route", stack, **network.settings()).status is Status.OK


def test_a_nat_gateway_is_a_way_and_an_internet_gateway_is_none_for_jobs(stack: Stack, network: Network) -> None:
    ec2 = network.ec2
    internet = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=internet, VpcId=network.vpc)
    ec2.create_route(RouteTableId=network.table, DestinationCidrBlock="0.0.0.0/0", GatewayId=internet)
    public = look("s3-route", stack, **network.settings())
    assert public.status is Status.WARNING
    assert "public address" in public.summary
    ec2.delete_route(RouteTableId=network.table, DestinationCidrBlock="0.0.0.0/0")
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=network.subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
    ec2.create_route(RouteTableId=network.table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
    found = look("s3-route", stack, **network.settings())
    assert (found.status, nat in found.summary) == (Status.OK, True)


def test_a_subnet_without_a_table_of_its_own_has_the_main_one(stack: Stack, network: Network) -> None:
    other = network.ec2.create_subnet(VpcId=network.vpc, CidrBlock="10.7.2.0/24")["Subnet"]["SubnetId"]
    (main,) = network.ec2.describe_route_tables(
        Filters=[{"Name": "vpc-id", "Values": [network.vpc]}, {"Name": "association.main", "Values": ["true"]}]
    )["RouteTables"]
    found = look("s3-route", stack, **network.settings(subnets=[other]))
    assert str(found.fix).endswith(f"--route-table-ids {main['RouteTableId']}")


def test_subnets_that_are_missing_or_of_several_vpcs_fail(stack: Stack, network: Network) -> None:
    assert look("s3-route", stack, **network.settings(subnets=["subnet-0123456789abcdef0"])).status is Status.FAILED
    elsewhere = network.ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    far = network.ec2.create_subnet(VpcId=elsewhere, CidrBlock="10.8.1.0/24")["Subnet"]["SubnetId"]
    assert "several VPCs" in look("s3-route", stack, **network.settings(subnets=[network.subnet, far])).summary
    foreign = look("security-groups", stack, **network.settings(subnets=[far]))
    assert foreign.status is Status.FAILED
    assert elsewhere in foreign.summary


def test_security_groups_must_let_jobs_out(stack: Stack, network: Network) -> None:
    assert look("security-groups", stack, **network.settings()).status is Status.OK
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    network.ec2.revoke_security_group_egress(GroupId=network.group, IpPermissions=everything)
    shut = look("security-groups", stack, **network.settings())
    assert shut.status is Status.FAILED
    assert f"aws ec2 authorize-security-group-egress --group-id {network.group}" in str(shut.fix)
    https = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    network.ec2.authorize_security_group_egress(GroupId=network.group, IpPermissions=https)
    assert look("security-groups", stack, **network.settings()).status is Status.OK
    missing = look("security-groups", stack, **network.settings(security_group_ids=["sg-0123456789abcdef0"]))
    assert missing.status is Status.FAILED
