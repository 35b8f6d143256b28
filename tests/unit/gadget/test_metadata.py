"""gadget.yaml against its schema: what ig understands is accepted, everything else refused by name."""

from pathlib import Path

import jsonschema
import pytest

from gadgetops.errors import MetadataError
from gadgetops.gadget.documents.metadata import Metadata
from gadgetops.gadget.documents.validate import load_schema

EVERYTHING = b"""
name: 0x10
description: yes
homepageURL:
documentationURL: https://example.org/
sourceURL: https://example.org/
x-team: {any: [thing, goes]}
annotations:
  enable-containers-datasource: true
  org.example.anything: 1.5
datasources:
  malloc:
    tags: [memory]
    annotations:
      cli.clear-screen-before: "true"
      cli.supported-output-modes: json,columns
      cli.default-output-mode: columns
      fetch-interval: 5s
      fetch-count: 3
      ebpf.map.flush-on-stop: true
      ebpf.iter.fetch-on-stop: "false"
      ebpf.rest.name: rest
      metrics.collect: true
      metrics.implicit-counter.name: n
      logs.array-handling: elements
      env.fields.NODE_NAME: NODE
      kubenameresolver.enable: true
      views.anything: x
      My.Custom: x
    fields:
      addr:
        tags: [a, 1]
        annotations:
          description: An address
          template: pid
          value.one-of: a,b
          columns.width: 20
          columns.minwidth: "10"
          columns.maxWidth: type
          columns.alignment: right
          columns.ellipsis: ""
          columns.hidden: false
          columns.fixed: "true"
          columns.hex: true
          columns.alias: a
          columns.precision: 3
          columns.replace: other
          json.skip: "true"
          formatters.timestamp.format: "15:04"
          ebpf.formatter.enum: operation
          uidgidresolver.target: user
          metrics.type: histogram
          profiles.sample-attribute: x
          pcap.interface-key: x
          flamegraph.anything: x
      size:
      other: {annotations: }
  empty:
params:
  ebpf:
    min_size: {key: min-size, alternativeKey: m, alias: m, title: t, defaultValue: 1, description: d,
               isMandatory: true, tags: [x], type: uint64, valueHint: h, possibleValues: [1, 2]}
  wasm:
    mode: {key: mode, typeHint: "[]string", defaultValue: "", isMandatory: "false", possibleValues: []}
  custom:
    allocator:
      description: which
      defaultValue: libc
      alias: a
      values:
        jemalloc: {patch: {programs: {trace: {attach_to: "{{ x }}"}}}}
        libc:
    plain: {patch: {params: {ebpf: {min_size: {defaultValue: 3}}}}}
programs:
  trace_malloc: {attach_to: gadget_program_disabled}
  profiler:
    perf: {type: software, config: count_sw_cpu_clock, sampleType: sample_raw}
    sampler: {frequency: 49}
operator:
  ebpf: {emitstats: true}
  process: {emitstats: true, interval: 3s, first-interval: 1s, count: 2, fields: [comm, pid]}
  cgroup: {emitstats: "true", interval: 5s, first-interval: 500ms, count: "1"}
paramDefaults:
  operator.oci.ebpf.map-fetch-interval: 0
  operator.cli.output: json
ebpfParams:
  iface: {key: iface}
"""


def refused(text: str) -> MetadataError:
    with pytest.raises(MetadataError) as caught:
        Metadata.from_bytes(text.encode(), is_strict=True)
    return caught.value


@pytest.mark.parametrize("name", ["gadget", "build"])
def test_the_schemas_are_schemas(name: str) -> None:
    schema = load_schema(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_everything_ig_understands_is_accepted() -> None:
    metadata = Metadata.from_bytes(EVERYTHING)
    assert metadata.content == EVERYTHING
    assert [metadata.text(key) for key in ("name", "description", "homepageURL")] == ["0x10", "yes", ""]
    assert metadata.annotations == {"enable-containers-datasource": "true", "org.example.anything": "1.5"}
    assert list(metadata.mapping("datasources")) == ["malloc", "empty"]
    assert list(metadata.mapping("datasources", "malloc", "fields")) == ["addr", "size", "other"]
    assert metadata.mapping("datasources", "empty", "fields") == {}
    assert metadata.mapping("nothing", "here") == {}


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ("nmae: x", "nmae", "unknown key (did you mean 'name'?) (line 1)"),
        ("dataSources: {x: 5}", "dataSources.x", "expected a datasource, got '5' (line 1)"),
        ("home_pageUrl: x", "home_pageUrl", "unknown key (did you mean 'homepageURL'?) (line 1)"),
        ("qqqqqqq: x", "qqqqqqq", "unknown key (line 1)"),
        ("name: [a]", "name", "expected text, got a list (line 1)"),
        ("name: {a: b}", "name", "expected text, got a mapping (line 1)"),
        ("datasources: [a]", "datasources", "expected datasources by name, got a list (line 1)"),
        (
            "datasources:\n  malloc:\n    fields:\n      size: 5",
            "datasources.malloc.fields.size",
            "expected a field, got '5' (line 4)",
        ),
        (
            "datasources: {malloc: {field: {}}}",
            "datasources.malloc.field",
            "unknown key (did you mean 'fields'?) (line 1)",
        ),
        ("params: {epbf: {}}", "params.epbf", "unknown key (did you mean 'ebpf'?) (line 1)"),
        ("params: {ebpf: {x: {description: d}}}", "params.ebpf.x.key", "missing (line 1)"),
        ("params: {ebpf: {x: {key: ''}}}", "params.ebpf.x.key", "expected a name, got '' (line 1)"),
        ("params: {ebpf: {x: {key: }}}", "params.ebpf.x.key", "expected a name, got nothing (line 1)"),
        ("params: {ebpf: {x: }}", "params.ebpf.x", "expected a parameter, got nothing (line 1)"),
        (
            "params: {ebpf: {x: {key: k, isMandatory: yes}}}",
            "params.ebpf.x.isMandatory",
            "expected true or false, got 'yes' (line 1)",
        ),
        (
            "params: {ebpf: {x: {key: k, type: uint33}}}",
            "params.ebpf.x.type",
            "expected the name of a type, such as uint32, got 'uint33' (line 1)",
        ),
        (
            "params: {wasm: {x: {key: k, type: uint32}}}",
            "params.wasm.x.type",
            "unknown key (did you mean 'typeHint'?) (line 1)",
        ),
        (
            "params: {custom: {x: {description: d}}}",
            "params.custom.x",
            "expected a flag with values, a patch or both, got a mapping (line 1)",
        ),
        (
            "params: {custom: {x: {patch: {params: {custom: {}}}}}}",
            "params.custom.x.patch.params.custom",
            "unknown key (line 1)",
        ),
        (
            "programs: {p: {attachto: x}}",
            "programs.p.attachto",
            "unknown key (did you mean 'attach_to'?) (line 1)",
        ),
        (
            "programs: {p: {sampler: {frequency: often}}}",
            "programs.p.sampler.frequency",
            "expected a whole number, got 'often' (line 1)",
        ),
        ("operator: {epbf: {}}", "operator.epbf", "unknown key (did you mean 'ebpf'?) (line 1)"),
        ("paramDefaults: {a.b: [1]}", "paramDefaults.a.b", "expected text, got a list (line 1)"),
    ],
)
def test_what_the_schema_does_not_allow_is_refused_with_its_place(text: str, path: str, reason: str) -> None:
    error = refused(text)
    assert (error.document, error.path, error.reason) == ("gadget.yaml", path, reason)


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ("columns.with: 5", "unknown key (did you mean 'columns.width'?)"),
        ("column.width: 5", "unknown key (did you mean 'columns.width'?)"),
        ("'columns.width:': 5", "unknown key (did you mean 'columns.width'?)"),
        ("Columns.Align: left", "unknown key (did you mean 'columns.alignment'?)"),
        ("descripton: x", "unknown key (did you mean 'description'?)"),
        ("columns.width: wide", "expected a number of columns, or type, got 'wide'"),
        ("columns.width: -1", "expected a number of columns, or type, got '-1'"),
        ("columns.alignment: center", "expected left or right, got 'center'"),
        ("columns.ellipsis: none", "expected start, middle, end or nothing, got 'none'"),
        ("columns.hidden: yes", "expected true or false, got 'yes'"),
        ("columns.Hidden: 1", "expected true or false, got '1'"),
        ("template: pidd", "expected the name of one of ig's column templates, got 'pidd'"),
        ("metrics.type: meter", "expected key, counter, gauge or histogram, got 'meter'"),
        ("description: [a]", "expected text, got a list"),
        ("views.x: {a: b}", "expected text, got a mapping"),
    ],
)
def test_annotations_are_free_unless_they_are_known_or_nearly(annotation: str, reason: str) -> None:
    key = annotation.partition(": ")[0].strip("'")
    error = refused(
        f"datasources:\n  d:\n    fields:\n      f:\n        annotations:\n          {annotation}"
    )
    assert error.path == f"datasources.d.fields.f.annotations.{key}"
    assert error.reason == f"{reason} (line 6)"


def test_all_problems_are_listed_in_document_order() -> None:
    error = refused("nmae: a\nname: [b]\nparams:\n  ebpf:\n    x: {}\n    y: 5\n")
    assert error.path == ""
    assert error.reason.splitlines() == [
        "4 problems",
        "  nmae: unknown key (did you mean 'name'?) (line 1)",
        "  name: expected text, got a list (line 2)",
        "  params.ebpf.x.key: missing (line 5)",
        "  params.ebpf.y: expected a parameter, got '5' (line 6)",
    ]


def test_very_many_problems_are_counted() -> None:
    error = refused("\n".join(f"q{number}: x" for number in range(1000)))
    assert error.reason.splitlines()[0] == "1000 problems"
    assert error.reason.splitlines()[-1] == "  … and 950 more"


def test_the_test_gadget_is_valid(data: Path = Path(__file__).parents[2] / "data") -> None:
    metadata = Metadata.from_bytes((data / "gadgets/minimal/gadget.yaml").read_bytes())
    assert metadata.annotations == {"org.example.tier": "0x10"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("nmae: x", "nmae"),
        ("gadgetParams: {x: {key: y}}", "gadgetParams"),
        ("datasources: {a: {fields: {b: {annotations: {columns.with: 5}}}}}", "columns.with"),
        ("operator: {epbf: {}}", "operator.epbf"),
    ],
)
def test_what_ig_passes_over_is_kept_as_a_warning(text: str, place: str) -> None:
    """It is refused only where somebody asks for it."""
    (ignored,) = Metadata.from_bytes(text.encode()).ignored
    assert ".".join(ignored.keys).endswith(place) and ignored.is_harmless


def test_keys_are_read_without_regard_to_case() -> None:
    """As ig reads them when it runs a gadget; upstream's files rely on it."""
    text = b"dataSources: {Events: {Fields: {x: {}}}}\nHomePageUrl: y\n"
    metadata = Metadata.from_bytes(text, is_strict=True)
    assert metadata.mapping("datasources", "events", "fields").keys() == {"x"}


@pytest.mark.parametrize("text", ["params: {ebpf: {x: {}}}", "datasources: 5", "name: [x]"])
def test_what_ig_refuses_is_refused_always(text: str) -> None:
    with pytest.raises(MetadataError):
        Metadata.from_bytes(text.encode())
