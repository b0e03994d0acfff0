"""Kills commands at random points, runs them again, and compares with an undisturbed run.

`python -m tests.campaign.kills count=100 seed=0 out=FOLDER [only=training,chain]`

Half of the points are counted (before the n-th change that the command makes to files), half are
moments (a share of the time that the undisturbed run took). Every point is of a stratum of its own,
so that all phases are met. Signals are drawn: SIGKILL, SIGTERM, SIGINT.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from tests.campaign.kills_compare import differences, halves, stages_hold, strays
from tests.campaign.kills_launcher import Ended, Kill, preload, run
from tests.campaign.kills_scenarios import SCENARIOS, Scenario, Words

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STOPPED = {130, 143, -signal.SIGTERM, -signal.SIGINT, -signal.SIGKILL}
"""How a process that was sent a signal may end."""
SOONER = 0.8
"""How much sooner a process is killed that was over before its signal came."""


@dataclass
class Outcome:
    """What came of one kill.

    Attributes:
        scenario: which.
        signal: its name.
        point: where it was killed.
        code: how the killed process ended.
        faults: what is wrong, by kind: unequal, strays, halves, refused, not heard, ...
    """

    scenario: str
    signal: str
    point: str
    code: int = 0
    faults: dict[str, list[str]] = field(default_factory=dict)


class Stand:
    """Runs of one scenario, all in the same folder; results are moved away from there.

    Args:
        scenario: what is run.
        out: folder of its own.
    """

    def __init__(self, scenario: Scenario, out: Path) -> None:
        self.scenario = scenario
        self.here, self.base, self.wanted = out / "here", out / "base", out / "wanted"
        self.half_way = out / "half-way"
        shutil.rmtree(out, ignore_errors=True)
        self.here.mkdir(parents=True)
        (out / "tmp").mkdir()
        scenario.inputs(self.here)
        for words in scenario.before:
            self._well(words)
        shutil.copytree(self.here, self.base, symlinks=True)
        self._well(scenario.killed)
        self.here.rename(self.wanted)
        self._anew()
        self.undisturbed = self._well(scenario.killed)  # what is compiled once is compiled
        if found := differences(self.here, self.wanted) + strays(self.here, self.wanted):
            raise RuntimeError(f"two undisturbed runs of {scenario.name} differ: {found}")
        if scenario.whole:
            shutil.copytree(self.here / scenario.whole, self.half_way)
        if scenario.after:
            shutil.rmtree(self.wanted)
            self._anew()
            self._well(scenario.after)
            self.here.rename(self.wanted)

    def _well(self, words: Words) -> Ended:
        ended = run(words, self.here)
        if ended.code != 0:
            raise RuntimeError(f"{' '.join(words)} ended with {ended.code}:\n{ended.said}")
        return ended

    def _anew(self) -> None:
        shutil.rmtree(self.here, ignore_errors=True)
        shutil.copytree(self.base, self.here, symlinks=True)

    def killed(self, kill: Kill) -> Outcome:
        """Kill the command once, run it (or the one that follows) again, and compare."""
        kill, ended = self._struck(kill)
        point = f"change {kill.event}" if kill.event else f"{kill.seconds:.2f} s"
        outcome = Outcome(self.scenario.name, signal.Signals(kill.number).name, point, ended.code)
        if ended.code == 0:
            outcome.faults["not heard"] = [ended.said[-800:]]
        elif ended.code not in STOPPED:
            outcome.faults["wrong end"] = [f"{ended.code}", ended.said[-800:]]
        if "Traceback" in ended.said:
            outcome.faults["traceback"] = [ended.said[-1500:]]
        if ended.code in (130, 143) and "stopped" not in ended.said:
            outcome.faults["silent"] = [ended.said[-800:]]
        self._note(outcome, "halves", halves(self.here))
        self._note(outcome, "no whole folder", self._mixed())
        again = run(self._words_after(), self.here)
        if again.code != 0:
            outcome.faults["refused"] = [f"{again.code}", again.said[-800:]]
        self._note(outcome, "unequal", differences(self.here, self.wanted))
        self._note(outcome, "strays", strays(self.here, self.wanted))
        self._note(outcome, "stamps", stages_hold(self.here))
        return outcome

    def _struck(self, kill: Kill) -> tuple[Kill, Ended]:
        """Run the command until a kill comes before its end; runs differ in length."""
        while True:
            self._anew()
            ended = run(self.scenario.killed, self.here, kill)
            if ended.reached:
                return kill, ended
            event = max(1, int(SOONER * kill.event)) if kill.event else 0
            kill = replace(kill, event=event, seconds=SOONER * kill.seconds)

    @staticmethod
    def _note(outcome: Outcome, kind: str, found: list[str]) -> None:
        if found:
            outcome.faults[kind] = found

    def _words_after(self) -> Words:
        words = self.scenario.after or self.scenario.killed
        there = any(self.here.glob("outputs/*/*/ckpts/last.ckpt"))
        return (*words, "resume=last") if self.scenario.resumes and there else words

    def _mixed(self) -> list[str]:
        """A folder that has to be the old or the new one and is neither."""
        if not self.scenario.whole:
            return []
        now = self.here / self.scenario.whole
        for whole in (self.base / self.scenario.whole, self.half_way):
            if not differences(now, whole) and not strays(now, whole):
                return []
        return sorted(p.name for p in now.parent.iterdir())


def points(ended: Ended, count: int, random: np.random.Generator) -> Iterator[Kill]:
    """Draw where to kill: each point in a stratum of its own, half of them counted."""
    numbers = [SIGNALS[i % 3] for i in random.permutation(count)]
    counted = (count + 1) // 2
    for i, number in enumerate(numbers):
        if i < counted:
            share = (i + random.random()) / counted
            yield Kill(number, event=1 + int(share * ended.events))
        else:
            share = (i - counted + random.random()) / (count - counted)
            yield Kill(number, seconds=share * ended.seconds)


def campaign(count: int, seed: int, out: Path, only: tuple[str, ...] = ()) -> list[Outcome]:
    """Carry out so many kills over all scenarios.

    Args:
        count: kills in all.
        seed: of the points and signals.
        out: folder to work in; report.json goes there.
        only: names of scenarios; all where empty.
    """
    preload()
    chosen = [s for s in SCENARIOS if not only or s.name in only]
    outcomes: list[Outcome] = []
    shares = sum(s.share for s in chosen)
    for number, scenario in enumerate(chosen):
        random = np.random.default_rng([seed, SCENARIOS.index(scenario)])
        ends = [count * sum(s.share for s in chosen[:n]) // shares for n in (number, number + 1)]
        stand = Stand(scenario, out / scenario.name.replace(" ", "-").replace(",", ""))
        whole = stand.undisturbed
        print(f"{scenario.name}: {whole.seconds:.1f} s, {whole.events} changes", flush=True)
        for kill in points(whole, ends[1] - ends[0], random):
            outcome = stand.killed(kill)
            outcomes.append(outcome)
            print(f"  {outcome.signal} at {outcome.point}: {outcome.code}", end="", flush=True)
            print(f" {json.dumps(outcome.faults)}" if outcome.faults else " equal", flush=True)
            text = json.dumps([asdict(o) for o in outcomes], indent=1)
            (out / "report.json").write_text(text)
    return outcomes


def table(outcomes: list[Outcome]) -> str:
    """Scenario by signal: kills, those that ended equal, and how many had which fault."""
    kinds = sorted(
        {kind for outcome in outcomes for kind in outcome.faults} | {"strays", "refused"}
    )
    lines = ["| scenario | signal | n | equal | " + " | ".join(kinds) + " |"]
    lines.append("| --- " * (4 + len(kinds)) + "|")
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.scenario, outcome.signal].append(outcome)
    groups["all", ""] = outcomes
    for (scenario, name), group in groups.items():
        faults = Counter(kind for outcome in group for kind in outcome.faults)
        good = sum(not outcome.faults for outcome in group)
        cells = [scenario, name, len(group), good, *(faults[kind] for kind in kinds)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """Run the campaign that the words ask for; 1 if anything was not as it should be."""
    given = dict(word.split("=", 1) for word in words)
    out = Path(given["out"]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    only = tuple(name for name in given.get("only", "").split(",") if name)
    began = time.monotonic()
    outcomes = campaign(int(given.get("count", 100)), int(given.get("seed", 0)), out, only)
    print(f"\n{table(outcomes)}\n\n{time.monotonic() - began:.0f} s")
    return int(any(outcome.faults for outcome in outcomes))


if __name__ == "__main__":
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    sys.exit(main(sys.argv[1:]))
