"""Every mistake of a prompt file is told with its line, the value, and the likely fix; the other files still work."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.cast import clinical_names
from clinical import Knowledge
from prompts.files import BUDGET, Mistake
from prompts.library import SHIPPED, Library
from prompts.matter import Clinical
from psyllm.errors import UsageError

OWN = "modalities/own.md"
ROLE = "roles/patient.md"


@pytest.fixture(scope="module")
def clinical() -> Clinical:
    return clinical_names(Knowledge.load())


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a file of an overlay."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    (tmp_path / "modalities").mkdir()
    return write


def own_school() -> str:
    """A modality without mistakes, from a shipped one."""
    text = (SHIPPED / "modalities" / "sfbt.md").read_text(encoding="utf-8")
    return text.replace("id: sfbt", "id: own").replace("SF", "OWN")


def shipped(name: str) -> str:
    return (SHIPPED / name).read_text(encoding="utf-8")


CASES = [
    (OWN, "name: Solution", "nmae: Solution", "nmae:", "nmae: unknown key; did you mean name?"),
    (OWN, "class: scaling", "klass: scaling", "klass:", "klass: unknown key; did you mean class?"),
    (
        OWN,
        "class: scaling",
        "class: scalign",
        "scalign",
        "scalign: no technique class is called so; did you mean scaling?",
    ),
    (OWN, "  - {id: exception_question", "\t- {id: exception_question", "\t-", "a tab; YAML is indented with spaces"),
    (
        OWN,
        "{id: scaling_question",
        "{id: scaling_question, ]",
        "{id: scaling_question, ]",
        "front matter is not YAML: ",
    ),
    (
        OWN,
        "{id: scaling_question",
        "{id: Scaling Question",
        "{id: Scaling",
        "Scaling Question: is no id; write lower-case",
    ),
    (OWN, 'version: "1.0"', "version: 1.0", "version:", "1.0: is no version; write numbers with points, in quotes"),
    (OWN, 'version: "1.0"', 'version: "1.0"\nversion: "1.1"', 'version: "1.1"', "version: stands twice"),
    (OWN, "academic_stress", "exam nerves", "exam nerves", "exam nerves: is no indication; write a disorder (mdd)"),
    (
        OWN,
        "academic_stress",
        "academic_stres",
        "academic_stres",
        "nothing clinical is called so; did you mean academic_",
    ),
    (OWN, "academic_stress", "mdd.A77", "mdd.A77", "mdd.A77: nothing clinical is called so; did you mean mdd.A7?"),
    (OWN, "academic_stress", "suicide:9", "suicide:9", "suicide:9: nothing clinical is called so"),
    (OWN, "{id: coping_question", "{id: scaling_question", "", "scaling_question: two techniques have this id"),
    (OWN, "{id: OWNx2", "{id: OWNx1", "", "OWNx1: two markers have this id"),
    (OWN, "{id: OWNx2", "{id: X0a", "{id: X0a", "X0a: this marker is critic's; take another id"),
    (OWN, "{id: OWNx2", "{id: CBTx2", "{id: CBTx2", "CBTx2: this marker is cbt's; take another id"),
    (OWN, "technique: scaling_question", "technique: scaling", "technique: scaling}", "marker OWN2 names no technique"),
    (OWN, "{id: miracle_question", "{id: safety_protocol", "{id: safety_protocol", "safety_protocol: is reserved"),
    (OWN, "# Critic", "# Critik", "# Critik", "Critik: unknown section; did you mean critic?"),
    (OWN, "# Planner\n", "# Planner\n\n# Therapist\n", "# Planner", "Planner: this section is empty"),
    (OWN, "# Planner\n", "", "Choose it for a stretch", "stands before the first heading"),
    (OWN, "# Planner\n", "# Planner\n{{ pateint }}\n", "{{ pateint", "pateint: unknown variable; known here: none"),
    (ROLE, "{{ round }}", "{{ ruond }}", "{{ ruond", "ruond: unknown variable; did you mean round?"),
    (ROLE, "{% else %}\nWrite", "{% esle %}\nWrite", "{% esle", "unknown tag 'esle'"),
    (ROLE, "# Revise\n", "# Revise\n{% for i in range(10**9) %}{% endfor %}\n", "{% for i", "call: is not allowed"),
    (ROLE, "# Revise\n", "# Revise\n{{ 'a' * 999999999 }}\n", "{{ 'a'", "mul: is not allowed"),
    (
        "roles/critic.md",
        "- {{ marker.id }}",
        "{% for c in approach %}x{% endfor %}- {{ marker.id }}",
        "{% for c",
        "for: a loop inside a loop is not allowed",
    ),
    (ROLE, "{{ round }}", "{{ round.__class__ }}", "__class__", "__class__: private attributes are not allowed"),
    (ROLE, "{{ round }}", "{{ round.real.oops }}", "oops", "has no attribute 'oops'"),
    (ROLE, "{{ round }}", "{{ round | attr('x') }}", "attr(", "attr: is no filter here"),
    ("roles/critic.md", "{{ marker.line }}", "{{ marker.lines }}", "{{ marker.lines", "has no attribute 'lines'"),
    (ROLE, "id: patient", "id: client", "id: client", "client: is not the file's name; write id: patient"),
    (ROLE, "# Task", "# Tasks", "# Tasks", "Tasks: unknown section; did you mean task?"),
]


@pytest.mark.parametrize(("name", "old", "new", "place", "message"), CASES)
def test_a_mistake_is_told_with_its_line_and_the_likely_fix(
    write: Callable[[str, str], Path], clinical: Clinical, name: str, old: str, new: str, place: str, message: str
) -> None:
    before = own_school() if name == OWN else shipped(name)
    assert old in before
    text = before.replace(old, new, 1)
    path = write(name, text)
    started = time.monotonic()
    mistakes = Library(path.parent.parent, clinical).mistakes
    assert time.monotonic() - started < 5
    told = [mistake for mistake in mistakes if message in mistake.text]
    assert told, [str(mistake) for mistake in mistakes]
    assert {mistake.path for mistake in mistakes} == {path}
    if place:
        line = text[: text.index(place)].count("\n") + 1
        assert line in {mistake.line for mistake in told}, [str(mistake) for mistake in told]


def test_the_unbroken_file_has_no_mistake(write: Callable[[str, str], Path], clinical: Clinical) -> None:
    path = write(OWN, own_school())
    assert Library(path.parent.parent, clinical).mistakes == []


def test_the_shipped_files_name_only_what_clinical_knows(clinical: Clinical) -> None:
    assert Library(clinical=clinical).mistakes == []


def only(folder: Path) -> Mistake:
    (mistake,) = Library(folder).mistakes
    return mistake


def test_a_half_written_file_and_a_wrong_encoding(write: Callable[[str, str], Path], tmp_path: Path) -> None:
    path = write(OWN, own_school()[:700])
    assert "front matter never ends" in only(tmp_path).text
    path.write_text(own_school() + "\n", encoding="utf-8")
    path.write_bytes(path.read_bytes() + "Café".encode("latin-1"))
    last = own_school().count("\n") + 2
    assert str(only(tmp_path)) == f"{path}:{last}: byte 0xe9: not UTF-8; save the file as UTF-8"
    path.write_bytes(b"")
    assert "no front matter" in only(tmp_path).text


def test_a_file_over_its_budget(write: Callable[[str, str], Path], tmp_path: Path) -> None:
    write(OWN, own_school() + "word " * BUDGET["modality"])
    assert f"more than the {BUDGET['modality']} of a modality; shorten it" in only(tmp_path).text


@pytest.mark.parametrize(
    ("against", "senseless"),
    [("[mdd, suicide:3]", True), ("[mdd, suicide:5]", False), ("[mdd.A1, suicide:3]", False)],
)
def test_a_modality_that_rules_out_all_it_is_for(
    write: Callable[[str, str], Path], tmp_path: Path, against: str, senseless: bool
) -> None:
    head, _, rest = own_school().partition("indications: [")
    rest = rest.partition("fidelity:")[2]
    write(OWN, f"{head}indications: [mdd, mdd.A1, suicide:4]\ncontraindications: {against}\nfidelity:{rest}")
    assert [m.text for m in Library(tmp_path).mistakes if "rule out every indication" in m.text] != [] or not senseless
    assert bool(Library(tmp_path).mistakes) is senseless


def test_a_file_in_the_wrong_place(write: Callable[[str, str], Path], tmp_path: Path) -> None:
    write("modalities/therapist.md", shipped("roles/therapist.md"))
    write("roles/own.md", own_school())
    write("roles/theropist.md", shipped("roles/therapist.md"))
    write("own.md", own_school())
    write("modalites/own.md", own_school())
    write("README.md", "ours")
    told = {str(m.path.relative_to(tmp_path)): m.text for m in Library(tmp_path).mistakes}
    assert told == {
        "modalites": "modalites: nobody reads this folder; did you mean modalities?",
        "modalities/therapist.md": "therapist: this is a role's name; a role belongs into roles/, a modality needs "
        "another name",
        "own.md": "own.md: nobody reads it here; move it into roles/ or modalities/",
        "roles/own.md": "own: there is no such role; a modality belongs into modalities/",
        "roles/theropist.md": "theropist: there is no such role; did you mean therapist?",
    }


def test_a_broken_file_hinders_only_those_who_need_it(write: Callable[[str, str], Path], tmp_path: Path) -> None:
    write(ROLE, shipped(ROLE).replace("{{ round }}", "{{ ruond }}"))
    write("modalities/cbt.md", "half")
    library = Library(tmp_path)
    assert library.modality("act").render("therapist")
    assert library.roles["therapist"].matter.name == "Therapist"
    with pytest.raises(UsageError, match="ruond: unknown variable"):
        library.roles["patient"]
    with pytest.raises(UsageError, match=r"cbt\.md:1: no front matter"):
        library.modality("cbt")
    with pytest.raises(UsageError, match=r"(?s)cbt\.md:1: .*patient\.md:\d+: ruond"):
        library.check()
    with pytest.raises(UsageError, match=r"unknown modality 'atc'; did you mean act\?"):
        library.modality("atc")


def test_two_schools_of_your_own_cannot_share_a_marker(write: Callable[[str, str], Path], tmp_path: Path) -> None:
    write(OWN, own_school())
    write("modalities/twin.md", own_school().replace("id: own", "id: twin"))
    library = Library(tmp_path)
    assert "own" in library.modalities
    assert {m.path.name for m in library.mistakes} == {"twin.md"}
    assert library.mistakes[0].text.endswith("this marker is own's; take another id")
