"""The operator's provider map: ids and names of other providers and their counterparts at Cakemail, from a YAML file.

Headers such as X-MC-Template refer to objects of another provider. Only the operator knows their counterparts, so an
optional file lists them: a section for each Cakemail account id, and `default` for every key that the section of an
account does not contain.

    default:
      tracking: {opens: false, clicks_html: false, clicks_text: false}
    12345:
      templates:
        sendgrid: {5997fcf6-2b9f-484d-acd5-7e9a99f0dc1f: 42}

The whole file is checked before anything starts, and all mistakes are reported at once with their lines.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Literal

import orjson
import yaml
from annotated_types import Ge, Predicate

Id = Annotated[int, Ge(1)]  # an id of Cakemail
PROVIDERS = ("brevo", "mailgun", "mailjet", "mandrill", "sendgrid")  # providers with templates over SMTP
TRACKED = ("opens", "clicks_html", "clicks_text")
Provider = Annotated[str, Predicate(PROVIDERS.__contains__)]
Tracked = Annotated[str, Predicate(TRACKED.__contains__)]
# Account, section, provider and id are four levels. A deeper file is a mistake, or has an alias that contains itself.
MAX_DEPTH = 6


class ProviderMapError(Exception):
    """The file cannot be used. `mistakes` has one line for each mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class AccountMap:
    """The map for one Cakemail account. Each field is a key of its section."""

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    templates: Mapping[Provider, Mapping[str, Id]] = field(default_factory=dict)  # provider → its id → Cakemail's
    asm_groups: Mapping[str, Id] = field(default_factory=dict)  # SendGrid's asm_group_id → list_id
    subaccounts: Mapping[str, Id] = field(default_factory=dict)  # X-MC-Subaccount → account_id
    message_streams: Mapping[str, Literal["marketing", "transactional"]] = field(default_factory=dict)  # Postmark's
    ses_lists: Mapping[str, Id] = field(default_factory=dict)  # contact list, or "list/topic" → list_id
    tracking: Mapping[Tracked, bool] = field(default_factory=dict)  # for messages that do not specify it
    metadata_as_headers: bool = False  # send metadata as X-Metadata-<key>, which recipients can see
    strip_mandrill_bcc: bool = False  # ignore X-MC-BccAddress instead of rejecting the message


@dataclass(frozen=True, slots=True)
class ProviderMap:
    """The maps of all accounts."""

    default: AccountMap = field(default_factory=AccountMap)
    accounts: Mapping[int, AccountMap] = field(default_factory=dict)

    EMPTY: ClassVar["ProviderMap"]

    def account(self, account_id: int) -> AccountMap:
        """Return the map for an account: that of its section, or the default."""
        return self.accounts.get(account_id, self.default)

    @classmethod
    def load(cls, path: str) -> "ProviderMap":
        """Load and check the file at `path`. An empty path means that there is no map.

        Raises:
            ProviderMapError: with all mistakes.
        """
        return load_sections(path) if path else cls.EMPTY


ProviderMap.EMPTY = ProviderMap()


def load_sections(path: str) -> ProviderMap:
    """Load and check the sections of a file. Raises ProviderMapError."""
    lines: dict[tuple[str, ...], int] = {}
    sections = to_values(parse_yaml(path), lines, path)
    if not isinstance(sections, dict):
        raise ProviderMapError([f"{path}: must be a map of account ids, and `default`"])
    mistakes = []
    for name, section in sections.items():
        if not re.fullmatch(r"default|[1-9][0-9]{0,17}", name):
            mistakes.append((lines[name,], f"{name}: must be `default` or the id of a Cakemail account"))
            continue
        for place, problem in find_problems({} if section is None else section):
            at = (name, *place)
            mistakes.append((line_of(lines, at), f"{'.'.join(at)}: {problem}"))
    if mistakes:
        raise ProviderMapError([f"{path}:{at_line}: {mistake}" for at_line, mistake in sorted(mistakes)])
    default = replace(AccountMap(), **(sections.pop("default", None) or {}))
    return ProviderMap(default, {int(name): replace(default, **(own or {})) for name, own in sections.items()})


def parse_yaml(path: str) -> yaml.Node | None:
    """Parse a file to YAML nodes, which have line numbers. Raises ProviderMapError."""
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.compose(file, yaml.SafeLoader)
    except OSError as problem:
        raise ProviderMapError([f"{path}: cannot be read ({problem.strerror})"]) from None
    except UnicodeDecodeError:
        raise ProviderMapError([f"{path}: is not UTF-8"]) from None
    except yaml.MarkedYAMLError as problem:
        at = problem.problem_mark.line + 1 if problem.problem_mark else 1
        details = ", ".join(filter(None, (problem.context, problem.problem)))
        raise ProviderMapError([f"{path}:{at}: not YAML: {details}"]) from None
    except yaml.YAMLError as problem:
        raise ProviderMapError([f"{path}: not YAML: {' '.join(str(problem).split())}"]) from None


def to_values(node: yaml.Node | None, lines: dict[tuple[str, ...], int], path: str, at: tuple[str, ...] = ()) -> Any:
    """Return the value of a node, and record the line of each key in `lines`. Raises ProviderMapError.

    Keys are the text as written: YAML would read the stream `on` as true and the group `010` as 8.
    """
    if node is None:
        return {}
    if len(at) > MAX_DEPTH:
        raise ProviderMapError([f"{path}:{node.start_mark.line + 1}: nested too deep"])
    if not isinstance(node, yaml.MappingNode):
        return scalar(node, path)
    values: dict[str, Any] = {}
    for key, value in node.value:
        here = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ProviderMapError([f"{path}:{here}: a key must be one word or number"])
        if key.value in values:
            raise ProviderMapError([f"{path}:{here}: {'.'.join((*at, key.value))}: stands twice"])
        lines[(*at, key.value)] = here
        values[key.value] = to_values(value, lines, path, (*at, key.value))
    return values


def scalar(node: yaml.Node, path: str) -> Any:
    """Return the value of a scalar node. Raises ProviderMapError."""
    if not isinstance(node, yaml.ScalarNode):
        raise ProviderMapError([f"{path}:{node.start_mark.line + 1}: a list has no place here"])
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ValueError):
        raise ProviderMapError([f"{path}:{node.start_mark.line + 1}: {node.value}: cannot be read"]) from None


def find_problems(section: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path of each wrong key of a section and a description of the mistake."""
    # Only a start with a file needs pydantic, and it takes memory in each worker.
    from pydantic import TypeAdapter, ValidationError

    try:
        # For JSON, "strict" is what an operator expects: neither true nor "42" is a number.
        TypeAdapter(AccountMap).validate_json(orjson.dumps(section, default=str), strict=True)
    except ValidationError as wrong:
        for error in wrong.errors():
            place = tuple(str(part) for part in error["loc"] if part != "[key]")
            if error["type"] == "unexpected_keyword_argument":
                yield place, unknown(place[-1], [f.name for f in fields(AccountMap)])
            elif "[key]" in error["loc"]:
                yield place, unknown(place[-1], PROVIDERS if place[0] == "templates" else TRACKED)
            elif error["type"].startswith("dataclass"):
                yield place, "must be a map"
            else:
                yield place, error["msg"].replace("Input should be", "must be").replace("an object", "a map")


def unknown(name: str, known: Iterable[str]) -> str:
    """Describe an unknown key, with the one that was probably meant."""
    meant = difflib.get_close_matches(name, known, 1)
    return f"unknown; did you mean {meant[0]}?" if meant else f"unknown; there are {', '.join(sorted(known))}"


def line_of(lines: Mapping[tuple[str, ...], int], at: tuple[str, ...]) -> int:
    """Return the line of a key, or of the nearest key that contains it."""
    while at not in lines:
        at = at[:-1]
    return lines[at]
