"""Evaluators: counsellors and corpora, judged by panels that are checked themselves.

content      rubrics/, safety/, prompts/, team/, clients.yaml; read by files, rubric, safety
talking      table seats models; counsellors, clients, talks, dialogues
judging      judges, bench (one evaluation, top to bottom), records and store (what it leaves)
telling      stats/, signals, summary, tables, plots, report; sheets and judge_check for people
"""
