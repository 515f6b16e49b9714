"""A plan and a hidden client, for tests that need one and do not care what is in it."""

from __future__ import annotations

from psyllm.records import CasePlan, ClientProfile, Emotion, ModalityChoice, RoundPlan, Scene, Severity

PROFILE = ClientProfile(
    history="hidden history",
    memories=("m",),
    core_beliefs=("b",),
    automatic_thoughts=("t",),
    coping=("c",),
    disclosure="d",
    resistance="r",
    builds_trust="t",
    safety="s",
)


def plan(modality: str = "cbt", severity: Severity = "mild", *, drawn: str = "") -> CasePlan:
    return CasePlan(
        emotion=Emotion(primary="sadness", intensity=5),
        presenting_problem="hidden problem",
        scene=Scene(category="grief", detail="hidden scene"),
        severity=severity,
        rounds=(RoundPlan(focus="hidden focus"),),
        modality=ModalityChoice(chosen=modality, drawn=drawn, reasons=("r",)),
        profile=PROFILE,
    )
