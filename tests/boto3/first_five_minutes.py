"""What a new user does in the first five minutes, with boto3 and nothing changed but endpoint_url.

Each step is a function; all run, the ones that fail are told at the end with their reason, and the
exit code is then 1. Every step makes its own queue and rule, so that none leans on another.

Usage: first_five_minutes.py API_URL EVENTS_DIR
"""

import datetime
import functools
import hashlib
import json
import pathlib
import sys
import threading
import time
import traceback
import urllib.request
import uuid

import boto3
import botocore.config
import botocore.exceptions

API = sys.argv[1]
EVENTS_DIR = pathlib.Path(sys.argv[2])
ACCOUNT = "000000000000"
REGION = "us-east-1"


def client(service):
    # One try: a retry would hide an answer that ought to have been right the first time.
    config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=40)
    return boto3.client(
        service,
        endpoint_url=API,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=config,
    )


events = client("events")
sqs = client("sqs")


def same(found, expected, what):
    assert found == expected, f"{what}: expected {expected!r}, got {found!r}"


def new_queue(name, **attributes):
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    same(url, f"{API}/{ACCOUNT}/{name}", "QueueUrl")
    return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def drain(url, count, seconds=20):
    """Receives and deletes until `count` messages are there, or the time is up."""
    messages = []
    end = time.monotonic() + seconds
    while len(messages) < count and time.monotonic() < end:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in answer.get("Messages", []):
            messages.append(message)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    same(len(messages), count, "messages received")
    return messages


def fails(code, call, status=400, exception=None, **arguments):
    """The call fails with this Error.Code, and as this class of the client where there is one."""
    try:
        answer = call(**arguments)
    except botocore.exceptions.ClientError as error:
        same(error.response["Error"]["Code"], code, "Error.Code")
        same(error.response["ResponseMetadata"]["HTTPStatusCode"], status, "status")
        assert error.response["Error"]["Message"], "an error has a text"
        if exception is not None:
            assert isinstance(error, exception), f"{type(error)} is not {exception}"
        return error.response
    raise AssertionError(f"expected {code}, got {answer}")


def the_private_ca_examples_arrive_as_eventbridge_sends_them():
    examples = []
    for path in sorted(EVENTS_DIR.glob("aws-pca-*.jsonl")):
        if "documented" not in path.name:
            examples += [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    documented = [
        json.loads(line) for line in (EVENTS_DIR / "aws-pca-documented.jsonl").read_text().splitlines() if line.strip()
    ]
    same(len(examples), 11, "examples of AWS Private CA")
    same(len(documented), 11, "documented examples of AWS Private CA")

    url, arn = new_queue("five-pca")
    rule = events.put_rule(Name="five-pca", EventPattern=json.dumps({"source": ["demo.acm-pca"]}))
    same(rule["RuleArn"], f"arn:aws:events:{REGION}:{ACCOUNT}:rule/five-pca", "RuleArn")
    put = events.put_targets(Rule="five-pca", Targets=[{"Id": "queue", "Arn": arn}])
    same((put["FailedEntryCount"], put["FailedEntries"]), (0, []), "put_targets")

    sent = {}
    for start in (0, 10):
        batch = examples[start : start + 10]
        entries = [
            {
                "Source": "demo.acm-pca",
                "DetailType": example["detail-type"],
                "Detail": json.dumps(example["detail"]),
                "Resources": example["resources"],
                "Time": datetime.datetime.fromisoformat(example["time"].replace("Z", "+00:00")),
            }
            for example in batch
        ]
        answer = events.put_events(Entries=entries)
        same(answer["FailedEntryCount"], 0, "FailedEntryCount")
        for entry, example in zip(answer["Entries"], batch, strict=True):
            same(str(uuid.UUID(entry["EventId"])), entry["EventId"], "EventId is a UUID in lower case")
            sent[entry["EventId"]] = example

    for message in drain(url, 11):
        body = message["Body"]
        envelope = json.loads(body)
        example = sent.pop(envelope["id"])
        same(
            list(envelope),
            ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"],
            "members and their order",
        )
        same(envelope["version"], "0", "version")
        same(envelope["source"], "demo.acm-pca", "source")
        same(envelope["account"], ACCOUNT, "account")
        same(envelope["region"], REGION, "region")
        for member in ("detail-type", "time", "resources", "detail"):
            same(envelope[member], example[member], member)
        # The producer's own bytes: json.dumps puts blanks, and they are still there.
        assert body.endswith(f'"detail":{json.dumps(example["detail"])}}}'), f"detail byte for byte: {body}"
        same(message["MD5OfBody"], hashlib.md5(body.encode()).hexdigest(), "MD5OfBody")
    same(sent, {}, "all came, each once")


def whole_envelopes_keep_their_own_source():
    examples = []
    for path in sorted(EVENTS_DIR.glob("aws-pca-*.jsonl")):
        examples += [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    url, arn = new_queue("five-envelopes")
    events.put_rule(Name="five-envelopes", EventPattern=json.dumps({"source": ["aws.acm-pca"]}))
    events.put_targets(Rule="five-envelopes", Targets=[{"Id": "queue", "Arn": arn}])
    request = urllib.request.Request(
        f"{API}/v1/buses/default/envelopes",
        data=json.dumps(examples).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        answer = json.loads(response.read())
    same([entry.get("id") for entry in answer], [example["id"] for example in examples], "ids, in order")
    received = [json.loads(message["Body"]) for message in drain(url, len(examples))]
    text = functools.partial(json.dumps, sort_keys=True)
    same(sorted(map(text, received)), sorted(map(text, examples)), "all nine members, also as documented")


def an_event_that_matches_nothing_goes_nowhere():
    url, arn = new_queue("five-quiet")
    events.put_rule(Name="five-quiet", EventPattern=json.dumps({"source": ["demo.quiet"], "detail": {"a": [1]}}))
    events.put_targets(Rule="five-quiet", Targets=[{"Id": "q", "Arn": arn}])
    events.put_events(Entries=[{"Source": "demo.quiet", "DetailType": "T", "Detail": '{"a":2}'}])
    events.put_events(Entries=[{"Source": "demo.quiet", "DetailType": "T", "Detail": '{"a":1}'}])
    [message] = drain(url, 1)
    same(json.loads(message["Body"])["detail"], {"a": 1}, "the one that matches")
    events.disable_rule(Name="five-quiet")
    events.put_events(Entries=[{"Source": "demo.quiet", "DetailType": "T", "Detail": '{"a":1}'}])
    same(sqs.receive_message(QueueUrl=url).get("Messages"), None, "a disabled rule routes nothing")
    same(events.describe_rule(Name="five-quiet")["State"], "DISABLED", "State")
    events.enable_rule(Name="five-quiet")
    fails("ValidationException", events.delete_rule, Name="five-quiet")
    events.remove_targets(Rule="five-quiet", Ids=["q"])
    events.delete_rule(Name="five-quiet")
    fails("ResourceNotFoundException", events.describe_rule, Name="five-quiet")


def a_bus_of_ones_own():
    answer = events.create_event_bus(Name="five-bus", Description="of one's own")
    same(answer["EventBusArn"], f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/five-bus", "EventBusArn")
    rule = events.put_rule(Name="r", EventBusName="five-bus", EventPattern='{"source":["demo.bus"]}')
    same(rule["RuleArn"], f"arn:aws:events:{REGION}:{ACCOUNT}:rule/five-bus/r", "RuleArn")
    url, arn = new_queue("five-bus")
    events.put_targets(Rule="r", EventBusName="five-bus", Targets=[{"Id": "q", "Arn": arn, "InputPath": "$.detail"}])
    entry = {"Source": "demo.bus", "DetailType": "T", "Detail": '{"x": 12.50}'}
    events.put_events(Entries=[entry, entry | {"EventBusName": "five-bus"}])
    [message] = drain(url, 1)
    same(message["Body"], '{"x":12.50}', "the detail alone, compact, its number as it was")
    names = [bus["Name"] for bus in events.list_event_buses()["EventBuses"]]
    assert {"default", "five-bus"} <= set(names) and names == sorted(names), names
    same(events.list_rule_names_by_target(TargetArn=arn, EventBusName="five-bus")["RuleNames"], ["r"], "RuleNames")


def rules_are_listed_page_by_page():
    names = [f"five-page-{place}" for place in range(7)]
    for name in names:
        events.put_rule(Name=name, EventPattern='{"source":["demo.page"]}')
    pages = events.get_paginator("list_rules").paginate(NamePrefix="five-page-", PaginationConfig={"PageSize": 3})
    found = [[rule["Name"] for rule in page["Rules"]] for page in pages]
    same(found, [names[0:3], names[3:6], names[6:7]], "pages")


def a_transformer_shapes_what_the_target_gets():
    url, arn = new_queue("five-shape")
    events.put_rule(Name="five-shape", EventPattern='{"source":["demo.shape"]}')
    transformer = {"InputPathsMap": {"who": "$.detail.who"}, "InputTemplate": '{"hello":<who>,"rule":"<aws.events.rule-name>"}'}
    target = {"Id": "q", "Arn": arn, "InputTransformer": transformer}
    events.put_targets(Rule="five-shape", Targets=[target])
    same(events.list_targets_by_rule(Rule="five-shape")["Targets"], [target], "the target as it was put")
    events.put_events(Entries=[{"Source": "demo.shape", "DetailType": "T", "Detail": '{"who":"w\\u00f6rld"}'}])
    [message] = drain(url, 1)
    same(json.loads(message["Body"]), {"hello": "wörld", "rule": "five-shape"}, "shaped")


def a_long_poll_ends_when_something_comes():
    url, _ = new_queue("five-poll")
    begin = time.monotonic()
    same(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2).get("Messages"), None, "nothing")
    waited = time.monotonic() - begin
    assert 1.9 <= waited < 5, f"an empty long poll of 2 s took {waited:.2f} s"

    sender = threading.Timer(1.0, lambda: client("sqs").send_message(QueueUrl=url, MessageBody="late"))
    begin = time.monotonic()
    sender.start()
    answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)
    waited = time.monotonic() - begin
    sender.join()
    same(answer["Messages"][0]["Body"], "late", "what came")
    assert 0.9 <= waited < 5, f"it came after 1 s and was received after {waited:.2f} s"


def visibility_hides_and_gives_back():
    url, _ = new_queue("five-hide", VisibilityTimeout="30")
    sqs.send_message(QueueUrl=url, MessageBody="m")
    first = sqs.receive_message(QueueUrl=url, AttributeNames=["All"])["Messages"][0]
    same(first["Attributes"]["ApproximateReceiveCount"], "1", "first receive")
    same(sqs.receive_message(QueueUrl=url).get("Messages"), None, "hidden")
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"]
    same((shown[counts[0]], shown[counts[1]]), ("0", "1"), "counts")
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    second = sqs.receive_message(QueueUrl=url, AttributeNames=["All"], VisibilityTimeout=1)["Messages"][0]
    same(second["MessageId"], first["MessageId"], "the same message")
    same(second["Attributes"]["ApproximateReceiveCount"], "2", "second receive")
    assert second["ReceiptHandle"] != first["ReceiptHandle"], "a new handle"
    third = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]
    same(third["MessageId"], first["MessageId"], "back after its time")
    sqs.delete_message(QueueUrl=url, ReceiptHandle=third["ReceiptHandle"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=third["ReceiptHandle"])
    same(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2).get("Messages"), None, "deleted stays deleted")


ATTRIBUTES = {
    "Z": {"DataType": "String", "StringValue": "é€😀"},
    "a.b-c_d": {"DataType": "String.url", "StringValue": "x y"},
    "blob": {"DataType": "Binary.gif", "BinaryValue": b"\x00\xff\x01"},
    "n": {"DataType": "Number.int", "StringValue": "-12.50"},
}


def batches_carry_attributes_of_all_three_types():
    url, _ = new_queue("five-batch")
    entries = [{"Id": f"m{place}", "MessageBody": f"body {place}", "MessageAttributes": ATTRIBUTES} for place in range(9)]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries + [{"Id": "bad", "MessageBody": "\x01"}])
    same([entry["Id"] for entry in answer["Successful"]], [f"m{place}" for place in range(9)], "Successful")
    same([(entry["Id"], entry["Code"], entry["SenderFault"]) for entry in answer["Failed"]], [("bad", "InvalidMessageContents", True)], "Failed")
    for entry in answer["Successful"]:
        same(entry["MD5OfMessageAttributes"], "f14c8ea6622352256ef1e906df1a14b3", "digest of the attributes")
    received = []
    while len(received) < 9:
        got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"])
        assert got.get("Messages"), f"only {len(received)} of 9 came"
        received += got["Messages"]
    for message in received:
        same(message["MessageAttributes"], ATTRIBUTES, "attributes")
        same(message["MD5OfMessageAttributes"], "f14c8ea6622352256ef1e906df1a14b3", "digest on receive")
        assert 1_600_000_000_000 < int(message["Attributes"]["SentTimestamp"]), "SentTimestamp in milliseconds"
    handles = [{"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]} for place, message in enumerate(received)]
    changed = sqs.change_message_visibility_batch(QueueUrl=url, Entries=[handle | {"VisibilityTimeout": 60} for handle in handles])
    same((len(changed["Successful"]), changed.get("Failed")), (9, None), "change_message_visibility_batch")
    deleted = sqs.delete_message_batch(QueueUrl=url, Entries=handles)
    same((len(deleted["Successful"]), deleted.get("Failed")), (9, None), "delete_message_batch")

    sqs.send_message(QueueUrl=url, MessageBody="one", MessageAttributes={"Foo": {"DataType": "String", "StringValue": "Bar"}})
    message = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["Fo*", "Foo"])["Messages"][0]
    same(message["MD5OfMessageAttributes"], "ae7155c6026991b6d54b11589678bf9c", "digest of one attribute")


def a_message_that_fails_goes_to_its_dead_letter_queue():
    dead_url, dead_arn = new_queue("five-dead")
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    url, arn = new_queue("five-work", RedrivePolicy=policy, VisibilityTimeout="0")
    sent = sqs.send_message(QueueUrl=url, MessageBody="poison")
    for count in ("1", "2"):
        message = sqs.receive_message(QueueUrl=url, AttributeNames=["All"])["Messages"][0]
        same(message["Attributes"]["ApproximateReceiveCount"], count, "receive count")
    same(sqs.receive_message(QueueUrl=url).get("Messages"), None, "moved, not returned")
    moved = sqs.receive_message(QueueUrl=dead_url, AttributeNames=["All"])["Messages"][0]
    same(moved["MessageId"], sent["MessageId"], "the same id")
    same(moved["Body"], "poison", "the same body")
    same(moved["Attributes"]["DeadLetterQueueSourceArn"], arn, "where it came from")
    same(moved["Attributes"]["ApproximateReceiveCount"], "3", "the count goes on")
    same(json.loads(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]), json.loads(policy), "RedrivePolicy")


def a_delayed_message_comes_later():
    url, _ = new_queue("five-delay")
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=1)
    same(sqs.receive_message(QueueUrl=url).get("Messages"), None, "not yet")
    same(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["Body"], "later", "then")


def queues_are_found_and_listed():
    url, _ = new_queue("five-list-b")
    new_queue("five-list-a")
    same(sqs.get_queue_url(QueueName="five-list-b")["QueueUrl"], url, "get_queue_url")
    pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix="five-list-", PaginationConfig={"PageSize": 1})
    found = [entry.rsplit("/", 1)[1] for page in pages for entry in page.get("QueueUrls", [])]
    same(found, ["five-list-a", "five-list-b"], "list_queues")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout", "QueueArn"])["Attributes"]
    same(shown, {"VisibilityTimeout": "77", "QueueArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:five-list-b"}, "attributes")
    sqs.send_message(QueueUrl=url, MessageBody="m")
    sqs.purge_queue(QueueUrl=url)
    same(sqs.receive_message(QueueUrl=url).get("Messages"), None, "purged")
    sqs.delete_queue(QueueUrl=url)
    fails("AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_url, QueueName="five-list-b")


def errors_are_typed_as_the_client_knows_them():
    url, _ = new_queue("five-error", VisibilityTimeout="60")
    missing = f"{API}/{ACCOUNT}/five-nothing"
    known = sqs.exceptions
    old = "AWS.SimpleQueueService."
    fails(old + "NonExistentQueue", sqs.get_queue_url, exception=known.QueueDoesNotExist, QueueName="five-nothing")
    fails(old + "NonExistentQueue", sqs.send_message, exception=known.QueueDoesNotExist, QueueUrl=missing, MessageBody="m")
    fails("QueueAlreadyExists", sqs.create_queue, exception=known.QueueNameExists, QueueName="five-error", Attributes={"VisibilityTimeout": "1"})
    fails("InvalidAttributeName", sqs.get_queue_attributes, exception=known.InvalidAttributeName, QueueUrl=url, AttributeNames=["Colour"])
    fails("InvalidAttributeValue", sqs.set_queue_attributes, exception=known.InvalidAttributeValue, QueueUrl=url, Attributes={"VisibilityTimeout": "x"})
    fails("InvalidMessageContents", sqs.send_message, exception=known.InvalidMessageContents, QueueUrl=url, MessageBody="\x01")
    fails("ReceiptHandleIsInvalid", sqs.delete_message, 404, known.ReceiptHandleIsInvalid, QueueUrl=url, ReceiptHandle="garbage")
    fails(old + "EmptyBatchRequest", sqs.send_message_batch, exception=known.EmptyBatchRequest, QueueUrl=url, Entries=[])
    two = [{"Id": "a", "MessageBody": "m"}] * 2
    fails(old + "BatchEntryIdsNotDistinct", sqs.send_message_batch, exception=known.BatchEntryIdsNotDistinct, QueueUrl=url, Entries=two)
    eleven = [{"Id": str(place), "MessageBody": "m"} for place in range(11)]
    fails(old + "TooManyEntriesInBatchRequest", sqs.send_message_batch, exception=known.TooManyEntriesInBatchRequest, QueueUrl=url, Entries=eleven)
    fails(old + "InvalidBatchEntryId", sqs.send_message_batch, exception=known.InvalidBatchEntryId, QueueUrl=url, Entries=[{"Id": "a b", "MessageBody": "m"}])
    fails("InvalidAddress", sqs.receive_message, 404, known.InvalidAddress, QueueUrl=f"{API}/")
    fails("InvalidParameterValue", sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=11)
    sqs.purge_queue(QueueUrl=url)
    fails(old + "PurgeQueueInProgress", sqs.purge_queue, 403, known.PurgeQueueInProgress, QueueUrl=url)
    later = fails("OperationDisabled", sqs.list_queue_tags, QueueUrl=url)
    same(later["Error"]["Message"], "ListQueueTags comes with a later version.", "text")

    known = events.exceptions
    fails("ResourceNotFoundException", events.describe_rule, exception=known.ResourceNotFoundException, Name="five-nothing")
    fails("ResourceNotFoundException", events.list_rules, exception=known.ResourceNotFoundException, EventBusName="five-nothing")
    fails("InvalidEventPatternException", events.put_rule, exception=known.InvalidEventPatternException, Name="r", EventPattern="[]")
    fails("ResourceAlreadyExistsException", events.create_event_bus, exception=known.ResourceAlreadyExistsException, Name="default")
    fails("ValidationException", events.put_rule, Name="r")
    fails("ValidationException", events.delete_event_bus, Name="default")
    fails("OperationDisabledException", events.list_archives)
    fails("OperationDisabledException", events.describe_partner_event_source, exception=known.OperationDisabledException, Name="aws.partner/a/b")
    same(events.list_endpoints()["Endpoints"], [], "list_endpoints")
    answer = events.put_events(Entries=[{"Source": "aws.acm-pca", "DetailType": "T", "Detail": "{}"}])
    same(answer["Entries"][0]["ErrorCode"], "NotAuthorizedForSourceException", "ErrorCode")
    pattern = {"EventPattern": '{"source":["a"]}'}
    envelope = {"id": "1", "account": ACCOUNT, "source": "a", "time": "2026-11-23T12:00:00Z", "region": REGION, "detail-type": "T"}
    same(events.test_event_pattern(Event=json.dumps(envelope), **pattern)["Result"], True, "test_event_pattern")


def main():
    steps = [step for step in globals().values() if callable(step) and getattr(step, "__module__", "") == "__main__"]
    helpers = {client, same, new_queue, drain, fails, main}
    failed = 0
    for step in steps:
        if step in helpers or not hasattr(step, "__code__"):
            continue
        name = step.__name__.replace("_", " ")
        try:
            step()
            print(f"ok: {name}")
        except Exception:  # every kind of failure is told, and the next step runs
            failed += 1
            print(f"FAILED: {name}\n{traceback.format_exc()}")
    return 1 if failed else 0


sys.exit(main())
