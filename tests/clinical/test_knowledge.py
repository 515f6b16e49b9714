"""Loading, describing, and mistakes in the files."""

import re
import shutil
from pathlib import Path

import pytest

import clinical
from clinical import Knowledge
from psyllm.errors import UsageError
from psyllm.records import Evidence, Fact

SHIPPED = Path(clinical.__file__).parent
TABLES = ("facts.yaml", "factors.yaml", "relations.yaml", "durations.yaml", "risk.yaml", "contacts.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED / "criteria", tmp_path / "criteria")
    for name in TABLES:
        shutil.copy(SHIPPED / name, tmp_path / name)
    return tmp_path


def test_the_block_for_the_diagnostician_names_all_that_may_be_claimed(knowledge: Knowledge) -> None:
    block = knowledge.describe(knowledge.disorder_ids)
    assert len(knowledge.disorder_ids) == 25
    assert "\nmdd.A1 low, empty or tearful" in block
    assert all(f"\n{criterion} " in block for criterion in knowledge.criterion_ids)
    assert all(f"\n{name} (" in block for name in knowledge.fact_names)
    assert block == Knowledge.load().describe(knowledge.disorder_ids)


def test_a_longer_list_keeps_the_text_of_the_shorter_one(knowledge: Knowledge) -> None:
    shorter, longer = knowledge.describe(["gad", "mdd"]), knowledge.describe(["gad", "mdd", "aud"])
    assert longer.startswith(shorter.removesuffix("</criteria>"))
    assert "aud." not in shorter
    assert shorter.index("gad.A1") < shorter.index("mdd.A1")
    assert set(knowledge.criterion_ids_of(["aud"])) == {f"aud.A{n}" for n in (1, 2, 3, 5, 6, 7, 9, 10, 11, 4, 8)}
    assert "near_daily_use" in knowledge.fact_names_of(["aud"])
    assert "near_daily_use" not in knowledge.fact_names_of(["mdd", "gad"])


def test_the_risk_guide_holds_every_ladder(knowledge: Knowledge) -> None:
    guide = knowledge.risk_guide()
    assert "suicide 3: thoughts with a method" in guide
    for name, domain in knowledge.risk_table.domains.items():
        assert all(f"\n{name} {rung.level}: " in guide for rung in domain.levels)


def test_a_system_switched_off_takes_its_criteria_and_findings_with_it() -> None:
    dsm = Knowledge.load(["dsm5tr"])
    assert "mdd.A10" not in dsm.criterion_ids
    assert "mdd.A9" in dsm.criterion_ids
    assert "extra_effort" not in dsm.fact_names
    assert "cptsd" not in dsm.disorder_ids
    assert "ICD-11" not in dsm.describe(dsm.disorder_ids)


def test_any_block_and_any_file_may_be_deleted(folder: Path) -> None:
    for path in sorted((folder / "criteria").glob("*.yaml")):
        text = path.read_text()
        path.write_text(re.sub(r"(?ms)^dsm5tr:.*?(?=^icd11:|\Z)", "", text))
    both = Knowledge.load(folder=folder)
    assert len(both.disorder_ids) == 25
    assert "Major depressive disorder" not in both.describe(both.disorder_ids)
    with pytest.raises(UsageError, match="no disorder for dsm5tr"):
        Knowledge.load(["dsm5tr"], folder)
    for path in sorted((folder / "criteria").glob("*.yaml"))[1:]:
        kept = path.read_text()
        path.unlink()
        assert path.stem not in Knowledge.load(folder=folder).disorder_ids
        path.write_text(kept)


def test_an_exclusion_may_weaken_instead_of_contradict(folder: Path) -> None:
    path = folder / "criteria" / "aud.yaml"
    weaker = "exclusions: [{id: grief, when: {fact: bereaved, is: true}, effect: downgrade, if_unknown: ignore}]"
    path.write_text(path.read_text().replace("\nicd11:", f"\n  {weaker}\nicd11:"))
    evidence = [Evidence(disorder="aud", criterion=c, sentence=1) for c in ("A1", "A2")]
    facts = [Fact(name=name, value=True, sentence=1) for name in ("within_12_months", "impairment", "bereaved")]
    found = Knowledge.load(["dsm5tr"], folder).assess(evidence, facts)
    assert [(f.verdict, "weakened by grief" in f.why) for f in found] == [("provisional", True)]


def test_labels_hold_names_and_codes_but_no_everyday_words(knowledge: Knowledge) -> None:
    labels = knowledge.labels
    for label in ("major depressive disorder", "gad", "ptsd", "alcohol dependence", "f32.1", "6a70", "6b00"):
        assert label in labels
    assert labels["depressive episode"] == "mdd"
    assert not {"depression", "worry", "drinking", "anxiety", "trauma"} & labels.keys()
    assert labels == Knowledge.load(["icd11"]).labels


def test_contacts_name_a_line_for_those_who_are_elsewhere(knowledge: Knowledge) -> None:
    assert re.search(r"988.*116 123.*112.*elsewhere", knowledge.contacts())


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("criteria/mdd.yaml", "A1..A10", "A1..A12", "A11"),
        ("criteria/mdd.yaml", "fact: most_days", "fact: most_dayz", "most_dayz"),
        ("criteria/mdd.yaml", "duration_days, ge: 14", "duration_days, is: true", "duration_days"),
        ("criteria/mdd.yaml", "at_least: {n: 5", "at_least: {n: 15", "at_least 15 of 9"),
        ("criteria/mdd.yaml", "id: mdd", "id: mdx", "mdx"),
        ("criteria/mdd.yaml", "{id: A2,", "{id: A1,", "share an id"),
        ("criteria/mdd.yaml", "A1..A9", "A1..A10", "belongs to icd11"),
        ("criteria/gad.yaml", "if_unknown: ignore", "if_unknown: maybe", "maybe"),
        ("criteria/gad.yaml", "id: gad", "id: gad\ncolour: red", "colour"),
        ("criteria/gad.yaml", "id: gad", "id: [gad", "not YAML"),
        ("facts.yaml", "type: bool", "type: colour", "colour"),
        ("facts.yaml", "'\\b(doctors?", "'\\b((doctors?", "regular expression"),
        ("risk.yaml", "level: 3", "level: 4", "count up from 0"),
        ("risk.yaml", "mode: safety_first", "mode: careful", "careful"),
        ("contacts.yaml", ", checked: unverified", "", "checked"),
    ],
)
def test_a_mistake_names_the_file_and_the_value(folder: Path, name: str, old: str, new: str, said: str) -> None:
    path = folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UsageError) as error:
        Knowledge.load(folder=folder)
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert error.value.hint


def test_a_missing_file_or_system_is_named(folder: Path) -> None:
    (folder / "risk.yaml").unlink()
    with pytest.raises(UsageError, match=r"risk\.yaml"):
        Knowledge.load(folder=folder)
    with pytest.raises(UsageError, match="icd12"):
        Knowledge.load(["icd12"])  # type: ignore[list-item]
    shutil.copy(SHIPPED / "risk.yaml", folder / "risk.yaml")
    shutil.rmtree(folder / "criteria")
    with pytest.raises(UsageError, match="no disorder"):
        Knowledge.load(folder=folder)
