"""Which errors of AWS's own service model does no case show?

Lists the (operation, error) pairs that botocore's model declares for the operations offered here,
takes away those that some case of tests/cases answers with, and those of unreachable.json. What is
left is printed, and makes the exit code 1. An entry of unreachable.json that some case does show,
or that the model does not know, is a mistake of ours and is told as well.

Usage: uncovered.py CASES_DIR
"""

import json
import pathlib
import sys

import botocore.session

OFFERED = {
    "events": """PutEvents PutRule PutTargets RemoveTargets DeleteRule EnableRule DisableRule
        DescribeRule ListRules ListTargetsByRule ListRuleNamesByTarget CreateEventBus DeleteEventBus
        DescribeEventBus ListEventBuses TestEventPattern""".split(),
    "sqs": """CreateQueue GetQueueUrl ListQueues GetQueueAttributes SetQueueAttributes DeleteQueue
        PurgeQueue SendMessage SendMessageBatch ReceiveMessage DeleteMessage DeleteMessageBatch
        ChangeMessageVisibility ChangeMessageVisibilityBatch""".split(),
}


def shown(case):
    """The errors that a case's answer names: of the call, or of one of its entries."""
    answer = case["answer"]
    if not isinstance(answer, dict):
        return
    if "__type" in answer:
        yield answer["__type"].split("#")[-1]
    for entries, code in (("Entries", "ErrorCode"), ("FailedEntries", "ErrorCode"), ("Failed", "Code")):
        for entry in answer.get(entries, []):
            if isinstance(entry, dict) and code in entry:
                yield entry[code].removeprefix("AWS.SimpleQueueService.")


def main():
    folder = pathlib.Path(sys.argv[1])
    unreachable = json.loads((folder / "unreachable.json").read_text())
    covered = set()
    for path in sorted(folder.glob("*.json")):
        if path.name != "unreachable.json":
            for case in json.loads(path.read_text()):
                covered.update((case.get("op"), error) for error in shown(case))

    session = botocore.session.get_session()
    declared = set()
    for service, operations in OFFERED.items():
        model = session.get_service_model(service)
        for operation in operations:
            shapes = model.operation_model(operation).error_shapes
            declared.update((operation, shape.name) for shape in shapes)

    faults = []
    excused = set()
    for entry in unreachable:
        operations = [entry["operation"]] if entry["operation"] != "*" else sorted({pair[0] for pair in declared})
        pairs = {(operation, entry["error"]) for operation in operations} & declared
        if not entry.get("reason"):
            faults.append(f"unreachable.json: {entry['operation']} {entry['error']} has no reason")
        if not pairs:
            faults.append(f"unreachable.json: {entry['operation']} {entry['error']} is nothing that the model declares")
        for operation, error in sorted(pairs & covered):
            faults.append(f"unreachable.json: {operation} {error} is shown by a case")
        excused |= pairs
    faults += [f"no case: {operation} {error}" for operation, error in sorted(declared - covered - excused)]
    for fault in faults:
        print(fault)
    print(f"{len(declared)} pairs declared, {len(declared & covered)} shown, {len(excused)} unreachable")
    return 1 if faults else 0


sys.exit(main())
