"""What a gadget.yaml does not say yet."""

from gadgetops.bpf.contract import Contract, Datasource, Field, Parameter
from gadgetops.gadget.documents.metadata import Metadata
from gadgetops.gadget.documents.update import updated

EVENT = (
    Field("timestamp_raw", "timestamp_raw", 0, 8, "Uint64", ("gadget_timestamp", "u64"), 0),
    Field("proc", "proc", 8, 64, "Bytes", ("gadget_process",), 0),
    Field("proc.pid", "pid", 24, 4, "Uint32", ("gadget_pid",), 0),
)
CONTRACT = Contract(
    (Datasource("malloc", "tracer", "events", "event", 72, EVENT),),
    (
        Parameter("enabled", "enabled", "bool", True, ".rodata", 0, 1),
        Parameter("label", "label", "string", None, ".rodata", 1, 16),
        Parameter("targ_pid", "pid", "uint32", 0, ".rodata", 20, 4),
    ),
)
FROM_NOTHING = """\
name: 'TODO: Fill the gadget name'
description: 'TODO: Fill the gadget description'
homepageURL: 'TODO: Fill the gadget homepage URL'
documentationURL: 'TODO: Fill the gadget documentation URL'
sourceURL: 'TODO: Fill the gadget source code URL'
datasources:
  malloc:
    fields:
      timestamp_raw:
        annotations:
          description: 'TODO: Fill field description'
      proc:
        annotations:
          description: 'TODO: Fill field description'
params:
  ebpf:
    enabled:
      key: enabled
      defaultValue: 'true'
      description: 'TODO: Fill parameter description'
    label:
      key: label
      defaultValue: ''
      description: 'TODO: Fill parameter description'
"""


def metadata(text: str) -> Metadata:
    return Metadata.from_bytes(text.encode(), may_be_empty=True)


def test_everything_is_filled_in_where_nothing_is_there() -> None:
    assert updated(metadata(""), CONTRACT).content.decode() == FROM_NOTHING


def test_doing_it_again_changes_nothing() -> None:
    once = updated(metadata("# mine\nname: x\n"), CONTRACT)
    assert updated(once, CONTRACT) is once


def test_what_is_there_stays_with_comments_and_keys_of_ones_own() -> None:
    text = FROM_NOTHING.replace("TODO: Fill field description", "mine").replace("proc:", "proc:  # why")
    text = f"# top\nx-own: [1,\n  2]\n{text}# bottom\n"
    assert updated(metadata(text), CONTRACT).content.decode() == text
    shortened = text.replace("sourceURL: 'TODO: Fill the gadget source code URL'\n", "")
    assert updated(metadata(shortened), CONTRACT).content.decode() == text


def test_a_gadget_without_programs_gets_its_texts() -> None:
    content = updated(metadata("x-own: 1\n"), None).content.decode()
    assert content == FROM_NOTHING.partition("datasources")[0] + "x-own: 1\n"
