"""What signing and verifying cost, beside the least they can cost.

    python benchmarks/crypto_costs.py [--floor PATH] [--json]

With a floor program (by default ../shared/bench/floor.py next to this project, where it is present) its figures and the ratios to them
are printed too; it runs as a process of its own, directly before and after ours, and the lower figure of the two counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from adapters import soap  # noqa: E402 - runs from any folder
from adapters.signing import BodyPart  # noqa: E402
from tests.support import signing  # noqa: E402

FLOOR = ROOT / "../shared/bench/floor.py"


def content(pupils: int) -> bytes:
    """As many pupils as the floor program's message has, in the same number of bytes each."""
    rows = "".join(
        f"<leerling><bsn>{999990000 + i}</bsn><voornamen>Sanne Maria</voornamen><achternaam>Jansen{i}</achternaam>"
        f"<geboortedatum>2009-03-0{i % 9 + 1}</geboortedatum><postcode>2712PB</postcode><gemeentecode>0637</gemeentecode>"
        f"<brin>00AA00</brin><leerjaar>4</leerjaar></leerling>"
        for i in range(pupils)
    )
    return f'<melding xmlns="urn:floor">{rows}</melding>'.encode()


def median_us(work: Callable[[], object], seconds: float = 0.5, rounds: int = 4) -> float:
    """The lowest of a few medians: on a shared machine the others are about somebody else's work."""
    medians = []
    for _ in range(rounds):
        times, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        medians.append(statistics.median(times))
    return round(min(medians) * 1e6, 1)


def ours(pupils: int) -> dict[str, float]:
    now = datetime.now(UTC)
    unsigned = signing.unsigned(content=content(pupils), created=now)
    signer, verifier = signing.signer(), signing.verifier()
    signed = signer.sign(unsigned)
    part = BodyPart.around(content(pupils))

    def forward() -> bytes:
        to, sender = soap.address(signing.HUB), soap.address(signing.SCHOOL)
        return signer.envelope(part, to=to, sender=sender, action=signing.ACTION, message_id="urn:uuid:" + "0" * 8, created=now)

    return {
        "message_bytes": len(signed),
        "verify_us": median_us(lambda: verifier.verify(signed, at=now)),
        "sign_us": median_us(lambda: signer.sign(unsigned)),
        "envelope_us": median_us(forward),
    }


def floor(program: Path, pupils: int) -> dict[str, float]:
    done = subprocess.run([sys.executable, str(program), "--pupils", str(pupils)], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--floor", type=Path, default=FLOOR)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    for pupils in (5, 100):
        row: dict[str, Any] = {}
        before = floor(options.floor, pupils) if options.floor.exists() else None
        row |= ours(pupils)
        if before is not None:
            after = floor(options.floor, pupils)
            for name in ("verify", "sign"):
                least = min(before[f"floor_{name}_us"], after[f"floor_{name}_us"])
                row |= {f"floor_{name}_us": least, f"{name}_ratio": round(row[f"{name}_us"] / least, 2)}
        result[f"{pupils}_pupils"] = row
    if options.json:
        print(json.dumps(result))
        return
    for name, row in result.items():
        print(name, "  ".join(f"{key}={value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
