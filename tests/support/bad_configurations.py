"""Wrong configurations: a file, variables, and the error that `setup()` raises."""

from dataclasses import dataclass, field

from brain_otel.configuration.error import shown

TOP = 'file_format: "1.1"\n'
KEY = "0123456789abcdef0123456789abcdef"
DSN = f"https://{KEY}@o1.ingest.sentry.io/42"
BOOLEANS = "true, yes, on, 1, false, no, off, 0"
RATE = "tracer_provider.sampler.parent_based.root.trace_id_ratio_based.ratio"
SENTRY = "distribution.brain_otel.sentry"
INSTRUMENTATION = "distribution.brain_otel.instrumentation"
PRODUCTION = {"SENTRY_ENVIRONMENT": "production", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A wrong configuration, how its message begins, and what the message says is allowed."""

    name: str
    text: str | bytes | None
    """The file's text, to which `file_format` is added; bytes are the whole file, and None is the packaged file."""
    begins: str
    """``{file}`` is the file, ``{packaged}`` the folder of packaged files, ``{folder}`` the test's folder."""
    allowed: str
    environ: dict[str, str] = field(default_factory=dict)
    secret: str = "hunter2"
    """Text that must not be shown."""


CASES: list[Bad] = []


def bad(
    name: str,
    text: str | bytes | None,
    begins: str,
    allowed: str,
    environ: dict[str, str] | None = None,
    secret: str = "hunter2",
) -> None:
    CASES.append(Bad(name=name, text=text, begins=begins, allowed=allowed, environ=environ or {}, secret=secret))


def ours(sentry: str = "", instrumentation: str = "") -> str:
    return f"distribution: {{brain_otel: {{sentry: {{{sentry}}}, instrumentation: {{{instrumentation}}}}}}}"


def spans(*components: str) -> str:
    return f"tracer_provider: {{processors: [{', '.join(components)}]}}"


def logs(*components: str) -> str:
    return (
        f"tracer_provider: {{processors: [{{memory: }}]}}\nlogger_provider: {{processors: [{', '.join(components)}]}}"
    )


def metrics(exporter: str, more: str = "") -> str:
    reader = f"{{periodic: {{{more}exporter: {exporter}}}}}"
    return f"tracer_provider: {{processors: [{{memory: }}]}}\nmeter_provider: {{readers: [{reader}]}}"


# fmt: off

# Our block
bad("unknown block", "distribution: {brain_otel: {sentri: {}}}",
    "{file}: distribution.brain_otel.sentri is an empty mapping", "the keys sentry, instrumentation")
bad("block of the wrong type", "distribution: {brain_otel: 7}", "{file}: distribution.brain_otel is 7", "a mapping")
bad("fast paths", "distribution: {brain_otel: {fast_paths: maybe}}",
    "{file}: distribution.brain_otel.fast_paths is 'maybe'", BOOLEANS)
bad("sentry is a list", "distribution: {brain_otel: {sentry: [1, 2]}}", f"{{file}}: {SENTRY} is a list of 2",
    "a mapping with dsn, release")
bad("sentry is text", "distribution: {brain_otel: {sentry: on please}}", f"{{file}}: {SENTRY} is 'on please'",
    "a mapping with dsn")
bad("misspelt rate", ours("profile_sample_rate: 1"), f"{{file}}: {SENTRY}.profile_sample_rate is 1", "the keys dsn,")
bad("traces rate at the wrong place", ours("traces_sample_rate: 1"), f"{{file}}: {SENTRY}.traces_sample_rate is 1",
    "the keys dsn,")
bad("misspelt dsn", ours(f"dns: '{DSN}'"), f"{{file}}: {SENTRY}.dns is 'https://(masked)@o1.ingest.sentry.io/42'",
    "the keys dsn,", secret=KEY)
bad("profiles rate", ours("profiles_sample_rate: 1.5"), f"{{file}}: {SENTRY}.profiles_sample_rate is 1.5",
    "a number from 0 to 1")
bad("profiles rate is a list", ours("profiles_sample_rate: [1]"),
    f"{{file}}: {SENTRY}.profiles_sample_rate is a list of 1", "a number from 0 to 1")
bad("personal data", ours("send_default_pii: perhaps"), f"{{file}}: {SENTRY}.send_default_pii is 'perhaps'", BOOLEANS)
bad("debug", ours("debug: {}"), f"{{file}}: {SENTRY}.debug is an empty mapping", BOOLEANS)
bad("spotlight", ours("spotlight: localhost"), f"{{file}}: {SENTRY}.spotlight is 'localhost'", "an address such as")
bad("release is a list", ours("release: [1]"), f"{{file}}: {SENTRY}.release is a list of 1", "a release's name")
bad("unknown library", ours("", "flasks: true"), f"{{file}}: {INSTRUMENTATION}.flasks is True", "the keys fastapi,")
bad("fastapi", ours("", "fastapi: contib"), f"{{file}}: {INSTRUMENTATION}.fastapi is 'contib'",
    "contrib, native, off")
bad("slow call", ours("", "slow_call: 100 ms"), f"{{file}}: {INSTRUMENTATION}.slow_call is '100 ms'",
    "a number of seconds from 0 to 3600")
SQL = ("sqlalchemy", "sqlalchemy_connect_spans", "sqlalchemy_returned_rows")
for library in (*SQL, "redis", "httpx", "logging", "asyncio"):
    bad(f"library {library}", ours("", f"{library}: sometimes"),
        f"{{file}}: {INSTRUMENTATION}.{library} is 'sometimes'", BOOLEANS)

# OpenTelemetry's keys
bad("misspelt provider", "trace_provider: {}", "{file}: trace_provider is an empty mapping", "the keys file_format,")
bad("unknown top level", "exporters: [a]", "{file}: exporters is a list of 1", "and x-... for your own")
bad("misspelt processors", "tracer_provider: {procesors: []}", "{file}: tracer_provider.procesors is a list of 0",
    "the keys processors,")
bad("misspelt schedule", spans("{batch: {shedule_delay: 5, exporter: {console: }}}"),
    "{file}: tracer_provider.processors.0.batch.shedule_delay is 5", "the keys schedule_delay,")
bad("misspelt attribute", "resource: {attributes: [{nmae: a, name: b, value: c}]}",
    "{file}: resource.attributes.0.nmae is 'a'", "the keys name, value, type")
bad("attribute without a name", "resource: {attributes: [{value: x}]}",
    "{file}: resource.attributes.0 is a mapping with value", "missing: name")
bad("attribute's type", "resource: {attributes: [{name: a, value: x, type: text}]}",
    "{file}: resource.attributes.0.type is 'text'", "string, ")
bad("attribute not of its type", "resource: {attributes: [{name: a, value: x, type: int}]}",
    "{file}: resource cannot be created (invalid literal for int()", "OpenTelemetry's SDK")
bad("attribute is a mapping", "resource: {attributes: [{name: a, value: {b: c}}]}",
    "{file}: resource.attributes.0.value is a mapping with b", "text or a number or true or false")
bad("disabled", "disabled: 1", "{file}: disabled is 1", "true or false")
bad("limit", "attribute_limits: {attribute_count_limit: -1}", "{file}: attribute_limits.attribute_count_limit is -1",
    "a whole number from 0 on")
bad("two components in one", spans("{console: {}, memory: {}}"),
    "{file}: tracer_provider.processors.0 is a mapping with console, memory", "exactly one of batch, simple")
bad("no component", spans("{}"), "{file}: tracer_provider.processors.0 is an empty mapping", "exactly one of")
bad("component without a colon", spans("console"), "{file}: tracer_provider.processors.0 is 'console'", "a mapping")
bad("component's value", spans("{console: yes}"), "{file}: tracer_provider.processors.0.console is True", "a mapping")
bad("processors", "tracer_provider: {processors: console}", "{file}: tracer_provider.processors is 'console'",
    "a list")
ERRORS = "distribution.brain_otel.errors"
CLASS, LOGGER = "a built-in exception, or module.Class", "a logger's name, without wildcards"
for _name, _value, _where, _allowed in (
    ("a list", "[500]", " is a list of 1", "a mapping with failed_statuses, ignored_exceptions"),
    ("unknown key", "{statuses: [500]}", ".statuses is a list of 1", "the keys failed_statuses"),
    ("one status", "{failed_statuses: 500}", ".failed_statuses is 500", "a list of statuses and ranges"),
    ("no status", "{failed_statuses: [500, 700]}", ".failed_statuses.1 is 700", "a list of statuses and ranges"),
    ("backwards", "{failed_statuses: [599-500]}", ".failed_statuses.0 is '599-500'", "a list of statuses and ranges"),
    ("status is a boolean", "{failed_statuses: [true]}", ".failed_statuses.0 is True", "a list of statuses"),
    ("one class", "{ignored_exceptions: ValueError}", ".ignored_exceptions is 'ValueError'", "a list of classes"),
    ("class by halves", "{ignored_exceptions: [ConnectError]}", ".ignored_exceptions.0 is 'ConnectError'", CLASS),
    ("no class", "{reported_exceptions: [ValueError, 'a b.C']}", ".reported_exceptions.1 is 'a b.C'", CLASS),
    ("no exception", "{reported_exceptions: [int]}", ".reported_exceptions.0 is 'int'", CLASS),
    ("wildcard", "{ignored_loggers: ['celery.*']}", ".ignored_loggers.0 is 'celery.*'", LOGGER),
    ("logger is a number", "{ignored_loggers: [7]}", ".ignored_loggers.0 is 7", LOGGER),
):
    _text = f"distribution: {{brain_otel: {{errors: {_value}}}}}"
    bad(f"errors: {_name}", _text, f"{{file}}: {ERRORS}{_where}", _allowed)

bad("ratio in a file", "tracer_provider: {processors: [{memory: }], sampler: {trace_id_ratio_based: {ratio: 10}}}",
    "{file}: tracer_provider.sampler.trace_id_ratio_based.ratio is 10", "a number from 0 to 1")
bad("ratio not a number",
    "tracer_provider: {processors: [{memory: }], sampler: {trace_id_ratio_based: {ratio: .nan}}}",
    "{file}: tracer_provider.sampler.trace_id_ratio_based.ratio is nan", "a number from 0 to 1")
bad("number that is not finite", "resource: {attributes: [{name: a, value: .nan}]}",
    "{file}: resource.attributes.0.value is nan", "a finite number")
bad("unknown sampler", "tracer_provider: {processors: [{memory: }], sampler: {some_times: {}}}",
    "{file}: tracer_provider cannot be created (", "OpenTelemetry's SDK")
bad("unknown propagator", "propagator: {composite: [{tracecontxt: }]}",
    "{file}: propagator cannot be created (Plugin 'tracecontxt' not found", "OpenTelemetry's SDK")
bad("unknown propagator in a list", "propagator: {composite_list: 'tracecontext,bagage'}",
    "{file}: propagator cannot be created (Plugin 'bagage' not found", "OpenTelemetry's SDK")
bad("unknown detector", "resource: {detection/development: {detectors: [{clowd: }]}}",
    "{file}: resource cannot be created (Plugin 'clowd' not found", "OpenTelemetry's SDK")
bad("interval below nothing", metrics("{console: }", "interval: -1, "),
    "{file}: meter_provider.readers.0.periodic.interval is -1", "a whole number from 0 on")
bad("interval of nothing", metrics("{console: }", "interval: 0, "),
    "{file}: meter_provider.readers.0.periodic.interval is 0", "a whole number of milliseconds from 1 on")
bad("interval in words", metrics("{console: }", "interval: 1m, "),
    "{file}: meter_provider.readers.0.periodic.interval is '1m'", "a whole number from 0 on")
bad("view", "meter_provider: {readers: [{periodic: {exporter: {console: }}}], views: [{selector: {}}]}",
    "{file}: meter_provider.views.0 is a mapping with selector", "missing: stream")

# Destinations
bad("unknown for traces", spans("{senty: {}}"), "{file}: tracer_provider.processors.0 is 'senty'",
    "batch, console, file, memory, otlp, sentry, sentry_otlp, simple")
bad("unknown for logs", logs("{fiel: {}}"), "{file}: logger_provider.processors.0 is 'fiel'", "batch, console, file")
bad("unknown for metrics", metrics("{otpl: {}}"), "{file}: meter_provider.readers.0.periodic.exporter is 'otpl'",
    "batch, console, file")
bad("sentry twice", spans("{sentry: }", "{sentry: }"), "{file}: tracer_provider.processors is 'sentry, sentry'",
    "sentry once")
bad("console twice", spans("{console: }", "{console: }"), "{file}: tracer_provider.processors is 'console, console'",
    "console once")
bad("memory twice for logs", logs("{memory: }", "{memory: }"),
    "{file}: logger_provider.processors is 'memory, memory'", "memory once")
bad("sentry both ways", spans("{sentry: }", "{sentry_otlp: }"),
    "{file}: tracer_provider.processors is 'sentry, sentry_otlp'", "sentry or sentry_otlp")
bad("sentry for logs enabled by another word", None, "SENTRY_ENABLE_LOGS (", BOOLEANS,
    {**PRODUCTION, "SENTRY_ENABLE_LOGS": "perhaps"})
bad("misspelt option of sentry for logs", logs("{sentry: {levels: info}}"),
    "{file}: logger_provider.processors.0.sentry.levels is 'info'", "the keys enabled, level")
bad("level of sentry for logs", logs("{sentry: {level: loud}}"),
    "{file}: logger_provider.processors.0.sentry.level is 'loud'", "trace, debug, info, warning, error, fatal")
bad("sentry for metrics", metrics("{sentry: }"),
    "{file}: meter_provider.readers.0.periodic.exporter.sentry is given for metrics", "traces")
bad("sentry_otlp for logs", logs("{sentry_otlp: }"),
    "{file}: logger_provider.processors.0.sentry_otlp is given for logs", "traces")
bad("console for logs", logs("{console: }"), "{file}: logger_provider.processors.0.console is given for logs",
    "traces")
bad("batch for metrics", metrics("{batch: }"),
    "{file}: meter_provider.readers.0.periodic.exporter.batch is given for metrics", "traces, logs")
P0 = "{file}: tracer_provider.processors.0"
bad("console compact", spans("{console: {compact: much}}"), f"{P0}.console.compact is 'much'", BOOLEANS)
bad("console stream", spans("{console: {stream: file}}"), f"{P0}.console.stream is 'file'", "stdout, stderr")
bad("console option", spans("{console: {colour: true}}"), f"{P0}.console.colour is True", "the keys compact, stream")
bad("memory option", spans("{memory: {size: 9}}"), f"{P0}.memory.size is 9", "no keys")
bad("otlp option while it is off", spans("{otlp: {endpoint: '', max_queue_sise: 9}}"),
    f"{P0}.otlp.max_queue_sise is 9", "the keys")
bad("sentry_otlp option without a DSN", spans("{sentry_otlp: {max_queue_size: 0}}"),
    f"{P0}.sentry_otlp.max_queue_size is 0", "1 to 1000000")
bad("otlp endpoint is a list", spans("{otlp: {endpoint: [a]}}"), f"{P0}.otlp.endpoint is a list of 1", "text")
bad("otlp endpoint without scheme", spans("{otlp: {endpoint: 'collector:4318'}}"),
    f"{P0}.otlp.endpoint is 'collector:4318'", "an address such as http://localhost:4318")
bad("otlp endpoint's port", spans("{otlp: {endpoint: 'http://collector:99999'}}"),
    f"{P0}.otlp.endpoint is 'http://collector:99999'", "an address such as")
bad("otlp protocol", spans("{otlp: {protocol: http/json}}"), f"{P0}.otlp.protocol is 'http/json'",
    "http/protobuf, grpc")
bad("otlp headers without a value", spans("{otlp: {headers: hunter2}}"), f"{P0}.otlp.headers is (masked)",
    "a mapping, or pairs")
bad("otlp timeout", spans("{otlp: {timeout: 10s}}"), f"{P0}.otlp.timeout is '10s'", "a number from 0 to")
bad("otlp timeout below nothing", spans("{otlp: {timeout: -1}}"), f"{P0}.otlp.timeout is -1", "a number from 0 to")
bad("otlp compression", spans("{otlp: {compression: zip}}"), f"{P0}.otlp.compression is 'zip'", "gzip, deflate, none")
bad("otlp certificate", spans("{otlp: {certificate: /nowhere/ca.pem}}"),
    f"{P0}.otlp.certificate is '/nowhere/ca.pem'", "a file that can be read")
bad("otlp certificate by grpc", spans("{otlp: {protocol: grpc, certificate: /nowhere/ca.pem}}"),
    f"{P0}.otlp.certificate is '/nowhere/ca.pem'", "a file that can be read")
bad("otlp client key is a folder", spans("{otlp: {client_key: /}}"), f"{P0}.otlp.client_key is '/'",
    "a file that can be read")
bad("otlp option", spans("{otlp: {endpoints: http://a}}"), f"{P0}.otlp.endpoints is 'http://a'", "the keys protocol,")
bad("otlp queue", spans("{otlp: {max_queue_size: 0}}"), f"{P0}.otlp.max_queue_size is 0", "a whole number from 1 to")
bad("otlp batch above queue", spans("{otlp: {max_queue_size: 5, max_export_batch_size: 6}}"),
    f"{P0}.otlp.max_export_batch_size is 6", "a whole number from 1 to 5")
bad("otlp delay", spans("{otlp: {schedule_delay: soon}}"), f"{P0}.otlp.schedule_delay is 'soon'",
    "a number from 1 to")
bad("otlp metrics' queue", metrics("{otlp: {max_queue_size: 9}}"),
    "{file}: meter_provider.readers.0.periodic.exporter.otlp.max_queue_size is 9", "the keys protocol,")
bad("file without a path", spans("{file: {}}"), f"{P0}.file.path is empty", "a file's path")
bad("file's path is a folder", spans("{file: {path: '/'}}"), f"{P0}.file.path is '/'",
    "a file that can be written (Is a directory)")
bad("file's folder is a file", spans("{file: {path: /dev/null/spans}}"), f"{P0}.file.path is '/dev/null/spans'",
    "a file that can be written")
bad("file that cannot be written", spans("{file: {path: /proc/spans.jsonl}}"),
    f"{P0}.file.path is '/proc/spans.jsonl'", "a file that can be written")
bad("file max_bytes", spans("{file: {path: spans, max_bytes: -1}}"), f"{P0}.file.max_bytes is -1",
    "a whole number from 10000 to")
bad("file backups", spans("{file: {path: spans, backups: 1.5}}"), f"{P0}.file.backups is 1.5",
    "a whole number from 0")
bad("sentry option", spans("{sentry: {sample_rte: 1}}"), f"{P0}.sentry.sample_rte is 1", "an option of sentry_sdk")
bad("sentry option's value", f"{spans('{sentry: {integrations: 7}}')}\n{ours(f'dsn: {DSN!r}')}",
    f"{P0}.sentry cannot be created (", "sentry_sdk.init()", secret=KEY)
bad("batch without exporter", spans("{batch: {}}"), f"{P0}.batch is an empty mapping", "missing: exporter")
bad("batch with unknown exporter", spans("{batch: {exporter: {zipkin: {}}}}"),
    f"{P0}.batch cannot be created (Plugin 'zipkin' not found", "otlp_http, otlp_grpc, console")
bad("simple with unknown exporter for logs", logs("{simple: {exporter: {zipkin: {}}}}"),
    "{file}: logger_provider.processors.0.simple cannot be created (Plugin 'zipkin'", "otlp_http, otlp_grpc, console")
bad("otlp_grpc compression", spans("{batch: {exporter: {otlp_grpc: {compression: zip}}}}"),
    f"{P0}.batch cannot be created (Unsupported compression value 'zip'", "otlp_http, otlp_grpc")
bad("batch above its queue", spans("{batch: {max_queue_size: 5, max_export_batch_size: 6, exporter: {console: }}}"),
    f"{P0}.batch cannot be created (max_export_batch_size must be less", "what OpenTelemetry's batch processor takes")
bad("batch without delay", spans("{batch: {schedule_delay: 0, exporter: {console: }}}"),
    f"{P0}.batch cannot be created (schedule_delay_millis must be positive",
    "what OpenTelemetry's batch processor takes")
bad("plugin of metrics in OpenTelemetry's", metrics("{otlp_grpc: {compression: zip}}"),
    "{file}: meter_provider.readers.0.periodic.exporter.otlp_grpc cannot be created (Unsupported compression",
    "otlp_http, otlp_grpc, console")

# Secrets, in the wrong and the right place
for name, dsn in {
    "no address": "hunter2",
    "no key": "https://sentry.io/42",
    "no project": "https://hunter2@sentry.io/",
    "project is a word": "https://hunter2@sentry.io/shop",
    "project in other digits": "https://hunter2@sentry.io/²",
    "ftp": "ftp://hunter2@sentry.io/42",
    "a port in words": "https://hunter2@sentry.io:port/42",
    "in quotes": "'https://hunter2@sentry.io/42'",
}.items():
    bad(f"dsn with {name}", None, f"SENTRY_DSN ({{packaged}}/production.yaml: {SENTRY}.dsn) is (masked)",
        "a DSN such as https://<key>@<host>/<project>", {**PRODUCTION, "SENTRY_DSN": dsn})
bad("dsn as release", None,
    f"SENTRY_RELEASE ({{packaged}}/production.yaml: {SENTRY}.release) is 'https://(masked)@o1.ingest.sentry.io/42'",
    "a release's name", {**PRODUCTION, "SENTRY_RELEASE": DSN}, KEY)
bad("dsn as environment", None, "SENTRY_ENVIRONMENT is 'https://(masked)@o1.ingest.sentry.io/42'", "a plain name",
    {"SENTRY_ENVIRONMENT": DSN}, KEY)
bad("dsn as endpoint", spans(f"{{otlp: {{endpoint: '{DSN}'}}}}"),
    f"{P0}.otlp.endpoint is 'https://(masked)@o1.ingest.sentry.io/42'", "without user, password or key", secret=KEY)
bad("password in an endpoint", None,
    "OTEL_EXPORTER_OTLP_ENDPOINT ({packaged}/production.yaml: tracer_provider.processors.1.otlp.endpoint) is 'http://(masked)@collector:4318'",
    "without user, password or key",
    {**PRODUCTION, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://shop:hunter2@collector:4318"})
bad("token in headers as a list", spans("{otlp: {headers: ['authorization=Bearer hunter2']}}"),
    f"{P0}.otlp.headers is (masked)", "a mapping, or pairs")
bad("token in headers of OpenTelemetry's",
    spans("{batch: {exporter: {otlp_http: {headers: {authorization: hunter2}}}}}"),
    f"{P0}.batch.exporter.otlp_http.headers is (masked)", "a list")
bad("token as protocol", spans("{otlp: {protocol: 'Bearer hunter2'}}"), f"{P0}.otlp.protocol is '(masked)'",
    "http/protobuf, grpc")
bad("long token as compression", spans(f"{{otlp: {{compression: {KEY}}}}}"), f"{P0}.otlp.compression is '(masked)'",
    "gzip, deflate", secret=KEY)
bad("dsn as a key", f"'{DSN}': 1", "{file}: https://(masked)@o1.ingest.sentry.io/42 is 1", "the keys file_format",
    secret=KEY)
bad("dsn as the file", None, "OTEL_CONFIG_FILE is 'https:/(masked)@o1.ingest.sentry.io/42', which cannot be read",
    "a readable YAML or JSON file", {"OTEL_CONFIG_FILE": DSN}, KEY)
bad("dsn as the file's content", DSN, "{file} ", "", secret=KEY)
bad("dsn on a line that is no YAML", "a: b\n\tdsn: https://hunter2@sentry.io/42", "{file} cannot be parsed: ",
    "YAML or JSON")
bad("dsn behind an open quote", 'a: "\ndsn: https://hunter2@sentry.io/42', "{file} cannot be parsed: ",
    "YAML or JSON")
bad("dsn after an unclosed reference", f"x-a: '${{SENTRY_DSN:-{DSN}'", "{file}: x-a is ", "${NAME} or", secret=KEY)
bad("token as resource attributes", None,
    "OTEL_RESOURCE_ATTRIBUTES ({packaged}/production.yaml: resource.attributes_list) is "
    "'service.name=brain,(masked)'", "pairs as in", {**PRODUCTION, "OTEL_RESOURCE_ATTRIBUTES": "Bearer hunter2"})
bad("dsn among exporters", None, "OTEL_TRACES_EXPORTER is 'https://(masked)@o1.ingest.sentry.io/42'",
    "none, or some of", {**PRODUCTION, "OTEL_TRACES_EXPORTER": DSN}, KEY)

# The file itself
bad("empty file", b"", "{file} is empty", "a mapping with file_format")
bad("only a comment", b"# nothing yet\n", "{file} is empty", "a mapping with file_format")
bad("binary file", bytes(range(256)), "{file} is not UTF-8 text", "a YAML or JSON file")
bad("control characters", b"file_format: \x00\x01", "{file} cannot be parsed: ", "YAML or JSON")
bad("utf-16 file", (TOP + "disabled: true").encode("utf-16"), "{file} is not UTF-8 text", "a YAML or JSON file")
bad("latin-1 file", "file_format: \u00e9".encode("latin-1"), "{file} is not UTF-8 text", "a YAML or JSON file")
bad("too large", b"#" * 1_000_001, "{file} is larger than 1000000 bytes", "a configuration file")
bad("list at the top", b"- file_format: '1.1'\n", "{file} holds a list", "a mapping")
bad("text at the top", b"production\n", "{file} holds a str", "a mapping")
bad("tabs", "tracer_provider:\n\tprocessors: []", "{file} cannot be parsed: ", "YAML or JSON")
bad("two documents", "a: 1\n---\nb: 2", "{file} cannot be parsed: expected a single document", "YAML or JSON")
bad("tag of Python's", "disabled: !!python/object/apply:os.getcwd []",
    "{file} cannot be parsed: could not determine a constructor", "YAML or JSON")
bad("tag of a wrong value", "disabled: !!bool perhaps", "{file} cannot be parsed: ", "YAML or JSON")
bad("time of a wrong form", "x-a: !!timestamp perhaps", "{file} cannot be parsed: ", "YAML or JSON")
bad("unknown alias", "x-a: *nowhere", "{file} cannot be parsed: found undefined alias", "YAML or JSON")
bad("open bracket", "disabled: [", "{file} cannot be parsed: ", "YAML or JSON")
bad("alias in itself", "x-a: &a {b: *a}", "{file} cannot be parsed: the alias at x-a.b contains itself",
    "YAML or JSON")
bad("alias in itself, as a list", "resource: &a {attributes: [*a]}",
    "{file} cannot be parsed: the alias at resource.attributes.0 contains itself", "YAML or JSON")
bad("alias bomb",
    "x-a:\n  - &l0 [x]\n" + "".join(f"  - &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 30)),
    "{file} cannot be parsed: its aliases unfold to more than 100000 values", "YAML or JSON")
bad("deep nesting", "x-a: " + "[" * 100 + "]" * 100, "{file} cannot be parsed: nested deeper than 64", "YAML or JSON")
bad("very deep nesting", "x-a: " + "[\n" * 20_000, "{file} cannot be parsed: nested deeper than 64", "YAML or JSON")
bad("repeated key", "disabled: false\nresource: {}\ndisabled: true",
    "{file}: disabled is given twice (again on line 4)", "each key once")
bad("repeated key inside", ours("debug: true, debug: false"), f"{{file}}: {SENTRY}.debug is given twice",
    "each key once")
bad("repeated key in JSON", b'{"file_format": "1.1", "disabled": true, "disabled": false}',
    "{file}: disabled is given twice", "each key once")
bad("no file_format", b"disabled: true\n", "{file}: the top level is a mapping with disabled", "missing: file_format")
bad("old file_format", b'file_format: "0.3"\n', "{file}: file_format is '0.3'",
    'the version in quotes, "1.0" or "1.1"')
bad("coming file_format", b'file_format: "2.0"\n', "{file}: file_format is '2.0'", "the version in quotes")
bad("file_format without quotes", b"file_format: 1.1\n", "{file}: file_format is 1.1", "the version in quotes")
bad("file_format in words", b"file_format: latest\n", "{file}: file_format is 'latest'", "the version in quotes")

# Variables
bad("missing file", None, "OTEL_CONFIG_FILE is '{folder}/nowhere.yaml', which cannot be read (No such file",
    "a readable YAML or JSON file", {"OTEL_CONFIG_FILE": "{folder}/nowhere.yaml"})
bad("folder as the file", None, "OTEL_CONFIG_FILE is '{folder}', which cannot be read (Is a directory)",
    "a readable YAML or JSON file", {"OTEL_CONFIG_FILE": "{folder}"})
bad("file below a file", None, "OTEL_CONFIG_FILE is '/dev/null/a.yaml', which cannot be read (Not a directory)",
    "a readable", {"OTEL_CONFIG_FILE": "/dev/null/a.yaml"})
bad("file that cannot be read", None, "OTEL_CONFIG_FILE is '/proc/self/mem', which cannot be read (", "a readable",
    {"OTEL_CONFIG_FILE": "/proc/self/mem"})
bad("pipe as the file", None, "OTEL_CONFIG_FILE is '{folder}/pipe', which cannot be read (Not a file)", "a readable",
    {"OTEL_CONFIG_FILE": "{folder}/pipe"})
bad("device as the file", None, "OTEL_CONFIG_FILE is '/dev/zero', which cannot be read (Not a file)", "a readable",
    {"OTEL_CONFIG_FILE": "/dev/zero"})
bad("missing folder", None, "BRAIN_OTEL_CONFIG_DIR is '/nowhere'", "a folder", {"BRAIN_OTEL_CONFIG_DIR": "/nowhere"})
bad("file as the folder", None, "BRAIN_OTEL_CONFIG_DIR is '/dev/null'", "a folder",
    {"BRAIN_OTEL_CONFIG_DIR": "/dev/null"})
for name in ("a/b", "..", ".hidden", "two words", "x" * 65, "None", "a\nb", "a\\b"):
    bad(f"environment {name!r:.20}", None, f"SENTRY_ENVIRONMENT is {shown(name)}", "a plain name such as staging",
        {"SENTRY_ENVIRONMENT": name})
bad("the other environment", None, "ENVIRONMENT is 'a/b'", "a plain name", {"ENVIRONMENT": "a/b"})
for variable, path, value, allowed in (
    ("SENTRY_TRACES_SAMPLE_RATE", RATE, "1.01", "a number from 0 to 1"),
    ("SENTRY_TRACES_SAMPLE_RATE", RATE, "10%", "a number from 0 to 1"),
    ("SENTRY_PROFILES_SAMPLE_RATE", f"{SENTRY}.profiles_sample_rate", "-0.1", "a number from 0 to 1"),
    ("SENTRY_PROFILES_SAMPLE_RATE", f"{SENTRY}.profiles_sample_rate", "always", "a number from 0 to 1"),
    ("SENTRY_SEND_DEFAULT_PII", f"{SENTRY}.send_default_pii", "yess", BOOLEANS),
    ("SENTRY_DEBUG", f"{SENTRY}.debug", "-1", BOOLEANS),
    ("BRAIN_OTEL_FAST_PATHS", "distribution.brain_otel.fast_paths", "maybe", BOOLEANS),
    ("BRAIN_OTEL_FREEZE_GC", "distribution.brain_otel.freeze_gc", "2", BOOLEANS),
    ("OTEL_SDK_DISABLED", "disabled", "maybe", "true or false"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "meter_provider.readers.0.periodic.interval", "1m", "a whole number"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "tracer_provider.processors.1.otlp.protocol", "udp", "http/protobuf, grpc"),
):  # fmt: skip
    bad(f"{variable} {value}", None, f"{variable} ({{packaged}}/production.yaml: {path}) is ", allowed,
        {**PRODUCTION, variable: value})
for signal, variable in (
    ("traces", "OTEL_TRACES_EXPORTER"),
    ("logs", "OTEL_LOGS_EXPORTER"),
    ("metrics", "OTEL_METRICS_EXPORTER"),
):
    bad(f"unknown exporter of {signal}", None, f"{variable} is 'zipkin,otlp'",
        "memory, otlp", {**PRODUCTION, variable: "zipkin,otlp"})
bad("health check without a slash", ours("", "health_checks: [health]"),
    "{file}: distribution.brain_otel.instrumentation.health_checks.0 is 'health'",
    "a path that begins with /")
bad("health check that is no list", ours("", "health_checks: /health"),
    "{file}: distribution.brain_otel.instrumentation.health_checks is '/health'", "a list of paths")
bad("exporters without a name", None, "OTEL_TRACES_EXPORTER is ' , '", "none, or some of",
    {**PRODUCTION, "OTEL_TRACES_EXPORTER": " , "})
bad("interval of a replaced reader", None, "OTEL_METRIC_EXPORT_INTERVAL is 'often'", "a whole number of milliseconds",
    {"OTEL_METRICS_EXPORTER": "memory", "OTEL_METRIC_EXPORT_INTERVAL": "often"})
bad("interval in other digits", None, "OTEL_METRIC_EXPORT_INTERVAL is '²'", "a whole number of milliseconds",
    {"OTEL_METRICS_EXPORTER": "memory", "OTEL_METRIC_EXPORT_INTERVAL": "²"})
bad("spotlight that is no address", None, "SENTRY_SPOTLIGHT ({packaged}/staging.yaml:", "an address such as",
    {"SENTRY_ENVIRONMENT": "staging", "SENTRY_SPOTLIGHT": "http://[::1/stream"})
bad("spotlight's port", None, "SENTRY_SPOTLIGHT ({packaged}/staging.yaml:", "an address such as",
    {"SENTRY_ENVIRONMENT": "staging", "SENTRY_SPOTLIGHT": "http://localhost:99999/stream"})
bad("spotlight with a password", None, "SENTRY_SPOTLIGHT ({packaged}/staging.yaml:", "an address such as",
    {"SENTRY_ENVIRONMENT": "staging", "SENTRY_SPOTLIGHT": "http://me:hunter2@localhost/stream"})
bad("sentry's own dsn", spans("{sentry: {dsn: 'https://hunter2@sentry.example/1'}}"),
    "{file}: tracer_provider.processors.0.sentry.dsn is (masked)", "the DSN in distribution.brain_otel.sentry.dsn")
bad("endpoint with a query", spans("{otlp: {endpoint: 'http://collector:4318?api_key=hunter2'}}"),
    "{file}: tracer_provider.processors.0.otlp.endpoint is", "an address such as")
bad("header on two lines", spans('{otlp: {headers: {x-key: "hunter2\\nmore"}}}'),
    "{file}: tracer_provider.processors.0.otlp.headers is", "a mapping, or pairs")
bad("none and something", None, "OTEL_TRACES_EXPORTER is 'none,otlp'", "none, or some of",
    {**PRODUCTION, "OTEL_TRACES_EXPORTER": "none,otlp"})
bad("exporter for the wrong signal", None,
    "OTEL_LOGS_EXPORTER is 'console'", "none, or some of memory, otlp, sentry",
    {**PRODUCTION, "OTEL_LOGS_EXPORTER": "console"})
bad("exporter that needs an option", None,
    "OTEL_TRACES_EXPORTER is 'file'", "none, or some of console, memory, otlp, sentry, sentry_otlp",
    {**PRODUCTION, "OTEL_TRACES_EXPORTER": "file"})
for variable, value, message, allowed in (
    ("TRACES_TIMEOUT", "soon", "'soon'", "a number of seconds"), ("TIMEOUT", "-1", "'-1'", "a number of seconds"),
    ("COMPRESSION", "zip", "'zip'", "gzip, deflate, none"), ("TRACES_PROTOCOL", "udp", "'udp'", "http/protobuf"),
    ("CERTIFICATE", "/nowhere.pem", "'/nowhere.pem'", "a file that can be read"),
    ("HEADERS", "hunter2", "(masked)", "pairs as in"),
    ("TRACES_HEADERS", "a=1,hunter2", "(masked)", "pairs as in"),
    ("TRACES_ENDPOINT", "collector", "'collector'", "an address"),
):  # fmt: skip
    option = {"ENDPOINT": "url"}.get(variable.rpartition("_")[2], variable.rpartition("_")[2].lower())
    bad(f"OTLP's {variable}", spans("{otlp: {}}"),
        f"OTEL_EXPORTER_OTLP_{variable} ({{file}}: tracer_provider.processors.0.otlp.{option}) is {message}", allowed,
        {f"OTEL_EXPORTER_OTLP_{variable}": value})
bad("empty variable", spans("{file: {path: '${SPANS_FILE}'}}"), f"SPANS_FILE ({P0}.file.path) is empty",
    "a file's path", {"SPANS_FILE": ""})
bad("empty variable and default", b"file_format: ${FORMAT:-}\n", "FORMAT ({file}: file_format) is empty",
    "the version in quotes")
bad("unclosed reference", "resource: {schema_url: '${URL'}", "{file}: resource.schema_url is '${URL'",
    "${NAME} or ${NAME:-default}")
bad("reference of a wrong name", "resource: {schema_url: '${1BAD}'}", "{file}: resource.schema_url is '${1BAD}'",
    "${NAME} or ${NAME:-default}")
bad("reference with another default", "resource: {schema_url: '${A:?no A}'}", "{file}: resource.schema_url is '${A:?",
    "${NAME} or ${NAME:-default}")
bad("empty reference", "disabled: ${}", "{file}: disabled is '${}'", "${NAME} or ${NAME:-default}")

DELIVERY = "distribution.brain_otel.delivery"
SPOOL = f"{DELIVERY}.spool"


def delivery(text: str) -> str:
    return f"distribution: {{brain_otel: {{delivery: {text}}}}}"


bad("delivery is no mapping", delivery("true"), f"{{file}}: {DELIVERY} is True", "a mapping with spool, shipper")
bad("an unknown key", delivery("{queue: 1}"), f"{{file}}: {DELIVERY}.queue is 1", "the keys spool, shipper")
bad(
    "an unknown shipper",
    delivery("{shipper: pigeon}"),
    f"{{file}}: {DELIVERY}.shipper is 'pigeon'",
    "thread, process, external",
)
bad(
    "a spool that is no mapping",
    delivery("{spool: /tmp}"),
    f"{{file}}: {SPOOL} is '/tmp'",
    "a mapping with directory, max_bytes, max_age",
)
bad(
    "an unknown key of the spool",
    delivery("{spool: {path: /tmp}}"),
    f"{{file}}: {SPOOL}.path is '/tmp'",
    "the keys directory, max_bytes, max_age",
)
bad(
    "a spool in the working directory",
    delivery("{spool: {directory: spool}}"),
    f"{{file}}: {SPOOL}.directory is 'spool'",
    "an absolute path",
)
bad(
    "a spool that is a file",
    delivery("{spool: {directory: /etc/passwd}}"),
    f"{{file}}: {SPOOL}.directory is '/etc/passwd'",
    "the path of a directory, which need not exist",
)
bad(
    "a spool that is too small",
    delivery("{spool: {directory: /tmp/x, max_bytes: 1000}}"),
    f"{{file}}: {SPOOL}.max_bytes is 1000",
    "a whole number of bytes from 1048576 to 1125899906842624",
)
bad(
    "an age that is no number, and no directory",
    delivery("{spool: {max_age: soon}}"),
    f"{{file}}: {SPOOL}.max_age is 'soon'",
    "a number of seconds from 60 to 2592000",
)
bad(
    "a relative spool by variable",
    None,
    f"BRAIN_OTEL_SPOOL_DIR ({{packaged}}/production.yaml: {SPOOL}.directory) is 'spool'",
    "an absolute path",
    {**PRODUCTION, "BRAIN_OTEL_SPOOL_DIR": "spool"},
)
