"""The operator's maps: what ids and names of other providers mean in a Cakemail account, from one YAML file.

Headers such as X-MC-Template name things that live at another provider. Only the operator knows their counterparts, so
they stand in an optional file: a section for each Cakemail account id, and `default` for everything that an account's
own section does not name.

    default:
      tracking: {opens: false, clicks_html: false, clicks_text: false}
    12345:
      templates:
        sendgrid: {5997fcf6-2b9f-484d-acd5-7e9a99f0dc1f: 42}

The file is checked whole before anything starts, and every mistake is reported at once with its line.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Literal

import orjson
import yaml
from annotated_types import Ge, Predicate

Id = Annotated[int, Ge(1)]  # of Cakemail
PROVIDERS = ("brevo", "mailgun", "mailjet", "mandrill", "sendgrid")  # those with templates over SMTP
TRACKED = ("opens", "clicks_html", "clicks_text")
Provider = Annotated[str, Predicate(PROVIDERS.__contains__)]
Tracked = Annotated[str, Predicate(TRACKED.__contains__)]
MAX_DEPTH = 6  # an account, a section, a provider, an id; more is a mistake or an alias that contains itself


class ProviderMapError(Exception):
    """The file cannot be used; `mistakes` has one line for each thing that is wrong."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class AccountMap:
    """What the operator has said about one Cakemail account; each field is a key of its section."""

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    templates: Mapping[Provider, Mapping[str, Id]] = field(default_factory=dict)  # provider → its id → Cakemail's
    asm_groups: Mapping[str, Id] = field(default_factory=dict)  # SendGrid's asm_group_id → list_id
    subaccounts: Mapping[str, Id] = field(default_factory=dict)  # X-MC-Subaccount → account_id
    message_streams: Mapping[str, Literal["marketing", "transactional"]] = field(default_factory=dict)  # Postmark's
    ses_lists: Mapping[str, Id] = field(default_factory=dict)  # contact list, or "list/topic" → list_id
    tracking: Mapping[Tracked, bool] = field(default_factory=dict)  # for messages that do not say
    metadata_as_headers: bool = False  # send metadata as X-Metadata-<key>, which recipients can see
    strip_mandrill_bcc: bool = False  # send without the copy that X-MC-BccAddress asks for, instead of refusing


@dataclass(frozen=True, slots=True)
class ProviderMap:
    """The maps of every account."""

    default: AccountMap = field(default_factory=AccountMap)
    accounts: Mapping[int, AccountMap] = field(default_factory=dict)

    EMPTY: ClassVar["ProviderMap"]

    def account(self, account_id: int) -> AccountMap:
        return self.accounts.get(account_id, self.default)

    @classmethod
    def load(cls, path: str) -> "ProviderMap":
        """Read and check the file at `path`; an empty path is no file, and no maps.

        Raises:
            MappingsError: with all the mistakes there are.
        """
        return read_sections(path) if path else cls.EMPTY


ProviderMap.EMPTY = ProviderMap()


def read_sections(path: str) -> ProviderMap:
    lines: dict[tuple[str, ...], int] = {}
    sections = plain(parsed(path), lines, path)
    if not isinstance(sections, dict):
        raise ProviderMapError([f"{path}: must be a map of account ids, and `default`"])
    mistakes = []
    for name, section in sections.items():
        if not re.fullmatch(r"default|[1-9][0-9]{0,17}", name):
            mistakes.append((lines[name,], f"{name}: must be `default` or the id of a Cakemail account"))
            continue
        for place, problem in problems({} if section is None else section):
            at = (name, *place)
            mistakes.append((line(lines, at), f"{'.'.join(at)}: {problem}"))
    if mistakes:
        raise ProviderMapError([f"{path}:{at_line}: {mistake}" for at_line, mistake in sorted(mistakes)])
    default = replace(AccountMap(), **(sections.pop("default", None) or {}))
    return ProviderMap(default, {int(name): replace(default, **(own or {})) for name, own in sections.items()})


def parsed(path: str) -> yaml.Node | None:
    """The file as YAML nodes, which know their lines."""
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.compose(file, yaml.SafeLoader)
    except OSError as problem:
        raise ProviderMapError([f"{path}: cannot be read ({problem.strerror})"]) from None
    except UnicodeDecodeError:
        raise ProviderMapError([f"{path}: is not UTF-8"]) from None
    except yaml.MarkedYAMLError as problem:
        at = problem.problem_mark.line + 1 if problem.problem_mark else 1
        said = ", ".join(filter(None, (problem.context, problem.problem)))
        raise ProviderMapError([f"{path}:{at}: not YAML: {said}"]) from None
    except yaml.YAMLError as problem:
        raise ProviderMapError([f"{path}: not YAML: {' '.join(str(problem).split())}"]) from None


def plain(node: yaml.Node | None, lines: dict[tuple[str, ...], int], path: str, at: tuple[str, ...] = ()) -> Any:
    """The value of a node; `lines` learns where each key stands.

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
        values[key.value] = plain(value, lines, path, (*at, key.value))
    return values


def scalar(node: yaml.Node, path: str) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        raise ProviderMapError([f"{path}:{node.start_mark.line + 1}: a list has no place here"])
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ValueError):
        raise ProviderMapError([f"{path}:{node.start_mark.line + 1}: {node.value}: cannot be read"]) from None


def problems(section: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Where a section is wrong, as the path of a key, and how."""
    # Imported here because only a start with a file needs it: pydantic costs 7 MB, and each worker would pay.
    from pydantic import TypeAdapter, ValidationError

    try:
        # As JSON: there "strict" means what an operator means by it, true is no number and "42" neither.
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
    meant = difflib.get_close_matches(name, known, 1)
    return f"unknown; did you mean {meant[0]}?" if meant else f"unknown; there are {', '.join(sorted(known))}"


def line(lines: Mapping[tuple[str, ...], int], at: tuple[str, ...]) -> int:
    """The line of a key, or of the nearest one around it."""
    while at not in lines:
        at = at[:-1]
    return lines[at]
