"""An app that crashes, and a tool that is killed."""

from __future__ import annotations

import itertools
from pathlib import Path

from tests.driver import Driver, alive, answer, free_port, server, until, write
from tests.faults import LINUX, answers, go_first, named


def crashing(folder: Path, log: Path) -> None:
    """A program that writes down when it starts, and crashes."""
    server(folder)
    begin = (
        f'log, _ := os.OpenFile("{log}", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)\n'
        "\tfmt.Fprintln(log, time.Now().UnixNano())\n\tlog.Close()\n\tpanic(Answer())\n"
    )
    main = (folder / "main.go").read_text().replace("func main() {", "func main() {\n\t" + begin)
    (folder / "main.go").write_text(main.replace('"os"\n', '"os"\n\t"time"\n'))


BACKOFF = "crash: {restart: backoff, delay: 200ms, jitter: 0.5, limit: 3}"


def test_app_that_crashes_is_started_again_ever_later_and_held_at_the_limit(project: Path, driver: Driver) -> None:
    log = project.parent / "log"
    crashing(project, log)
    write(project, {"invoke.yaml": f"goreload: {{{BACKOFF}}}\n"})
    dev = driver.start(project, "dev")
    waits = [float(dev.line(r"exit code 2; starts again in (\d+) ms")[1]) / 1000 for _ in range(3)]
    dev.line("exit code 2; waits for a change")
    for wait, least in zip(waits, (0.2, 0.4, 0.8), strict=True):
        assert least - 0.001 <= wait <= least * 1.5 + 0.001
    at = [int(line) / 1e9 for line in log.read_text().split()]
    assert len(at) == 4
    for wait, (before, after) in zip(waits, itertools.pairwise(at), strict=True):
        assert after - before >= wait - 0.001
    (project / "main.go").write_text((project / "main.go").read_text().replace("panic(Answer())", ""))
    answers(dev.url(), "one")


def test_two_services_that_crash_at_once_come_back_apart(project: Path, driver: Driver) -> None:
    go = project.parent / "go"
    for name in ("api", "web"):
        crashing(project, project.parent / name)
        gated = (
            (project / "main.go")
            .read_text()
            .replace(
                "panic(Answer())",
                f'for i := 0; ; i++ {{ if _, err := os.Stat("{go}"); err == nil {{ break }} }}\n'
                f'\tif b, _ := os.ReadFile("{project.parent / name}"); len(b) < 30 {{ panic("first") }}',
            )
        )
        write(project, {f"cmd/{name}/main.go": gated, f"cmd/{name}/answer.go": answer(name)})
        (project / "main.go").unlink()
        (project / "answer.go").unlink()
    services = "services: {api: {main: ./cmd/api}, web: {main: ./cmd/web}}"
    # So wide that the two are hardly ever the same to the ms.
    write(project, {"invoke.yaml": f"goreload: {{{BACKOFF.replace('0.5', '20')}, {services}}}\n"})
    dev = driver.start(project, "dev")
    until(lambda: all((project.parent / name).exists() for name in ("api", "web")), "both at work")
    go.touch()
    again = named(dev, r"the app ended by itself: .*; starts again in (\d+) ms")
    assert set(again) == {"api", "web"}
    assert again["api"] != again["web"]
    for name, url in named(dev, r".* -> (http\S+)").items():
        answers(url, name)


@LINUX
def test_kill_9_takes_who_left_the_session_and_frees_the_port_of_the_gate(project: Path, driver: Driver) -> None:
    server(project)
    port = free_port()
    nap = project / "nap.sh"
    write(
        project,
        {
            "nap.sh": "#!/bin/sh\ntrap '' TERM HUP\nsleep 98765\nsleep 98765\n",
            "invoke.yaml": f"goreload: {{serve: {{port: {port}}}}}\n",
            "build.sh": "#!/bin/sh\nsleep 98765\n",
        },
    )
    nap.chmod(0o755)
    parent = (project / "main.go").read_text().replace('"os"\n', '"os"\n\t"os/exec"\n')
    (project / "main.go").write_text(
        parent.replace("func main() {", f'func main() {{\n\texec.Command("setsid", "{nap}").Start()')
    )
    flag = project.parent / "flag"
    slow = f'[ "$1" = build ] && [ -e {flag} ] && exec sh {project}/build.sh'
    dev = driver.start(project, "dev", env=go_first(project, f'{slow}\nexec "$GO" "$@"'))
    dev.url()
    url = f"http://127.0.0.1:{port}"
    answers(url, "one")
    until(lambda: len(alive([str(nap)])) == 1, "the one that left the session")
    flag.touch()
    (project / "answer.go").write_text(answer("two"))
    until(lambda: bool(alive([str(project), "build.sh"])), "the build")
    dev.process.kill()
    dev.process.wait()
    until(lambda: not alive([str(project)]), "the end of all of it")
    flag.unlink()
    again = driver.start(project, "dev")  # on the same port
    again.url()
    answers(url, "two")
    assert again.stop() == 130
    assert not alive([str(project)])


# The machine.
