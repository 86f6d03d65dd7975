"""SQS. The batch operations need the actions of the single ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.iam.table.spec import Key, Need, ResourceType, Rows, Tagged, needs, texts

if TYPE_CHECKING:
    from clary.sandbox.iam.call import Call

QUEUE = ResourceType("sqs", "queue", "arn:${Partition}:sqs:${Region}:${Account}:${QueueName}")


def _queue(call: Call) -> list[str]:
    return [QUEUE.arn(call, call.text("QueueName") or call.text("QueueUrl").rstrip("/").rpartition("/")[2])]


def _batch(action: str) -> list[Need]:
    return [Need(f"sqs:{action}", QUEUE, _queue)]


ROWS: Rows = {
    "CreateQueue": [
        Need("sqs:CreateQueue", QUEUE, _queue, (Tagged("tags"),)),
        Need("sqs:TagQueue", QUEUE, _queue, (Tagged("tags"),), when=lambda call: bool(call.tags("tags"))),
    ],
    **needs(
        "sqs",
        QUEUE,
        _queue,
        "AddPermission",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "DeleteQueue",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "ListQueueTags",
        "PurgeQueue",
        "ReceiveMessage",
        "RemovePermission",
        "SendMessage",
        "SetQueueAttributes",
    ),
    "ChangeMessageVisibilityBatch": _batch("ChangeMessageVisibility"),
    "DeleteMessageBatch": _batch("DeleteMessage"),
    "SendMessageBatch": _batch("SendMessage"),
    **needs("sqs", None, None, "ListQueues"),
    "TagQueue": [Need("sqs:TagQueue", QUEUE, _queue, (Tagged("Tags"),))],
    "UntagQueue": [Need("sqs:UntagQueue", QUEUE, _queue, (Key("aws:TagKeys", texts("TagKeys")),))],
}
