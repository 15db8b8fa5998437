"""Exports the logs of a simulator as Parquet and reads the files with DuckDB, pandas, Polars and PyArrow. Archives them with
`serve --archive.path` through SIGKILL while files are being written, late rows, and a ledger that is deleted or restored, and
reads the archive back.

The truth is what the simulator says it holds (`/simulator/rows`): neither the exporter's client nor its decoder takes part.
The queries are those of docs/archive.md.
"""

import contextlib
import datetime
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
from time import sleep

import duckdb
import pandas
import polars
import pyarrow.parquet

from running import Failure, Process, check, fetch, free_port, held, wait_for

# Column of the file, member of the API.
REQUEST = {
    "id": "id", "product_id": "productId", "state": "state", "key": "key", "machine_code": "machineCode",
    "friendly_name": "friendlyName", "ip": "ip", "do_int_value": "doIntValue", "do_id": "doId",
}  # fmt: skip
EVENT = {
    "id": "id", "product_id": "productId", "key": "key", "machine_code": "machineCode", "feature_name": "featureName",
    "event_name": "eventName", "value": "value", "currency": "currency", "metadata": "metadata",
}  # fmt: skip
OBJECT = {
    "id": "id", "resource_type": "resourceType", "resource_action": "resourceAction",
    "affected_object_id": "affectedObjectId", "object_owner_user_id": "objectOwnerUserId",
    "performed_by_user_id": "performedByUserId", "data": "data",
}  # fmt: skip
LOGS = {"web-api": (REQUEST, "time"), "events": (EVENT, "time"), "objects": (OBJECT, "created")}


def rows_of(simulator, log):
    lines = fetch(f"{simulator}/simulator/rows?log={log.replace('-', '_')}").splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda row: row["id"])


def moment(seconds):
    """A time as the readers give it; the API's 0 means none."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC) if seconds else None


def expected_rows(rows, columns, time):
    """The rows that the file should hold: an empty text is none."""
    read = []
    for row in rows:
        values = {column: row.get(member) for column, member in columns.items()}
        values = {column: None if value == "" else value for column, value in values.items()}
        values["time"] = moment(row[time])
        if "floatingExpires" in row:
            values["floating_expires"] = moment(row["floatingExpires"])
        read.append(values)
    return read


def compared(what, expected, read):
    """Compares the columns that the truth has."""
    check(f"{what}: rows", len(expected) == len(read), len(read))
    for wanted, found in zip(expected, read, strict=True):
        for column, value in wanted.items():
            if found[column] != value:
                raise Failure(f"{what}: row {wanted['id']}, {column}: {found[column]!r}, not {value!r}")
    check(f"{what}: every value", True, f"{len(expected)} rows")


def exported(binary, simulator, log, path, *flags):
    environment = {"CRYPTOLENS_TOKEN": "archive-check", "CRYPTOLENS_API_URL": f"{simulator}/api"}
    command = [binary, "export", log, "--format=parquet", f"--output={path}", *flags]
    subprocess.run(command, env=environment, check=True)


def readers(path):
    """The rows of a file, by reader."""
    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    table = session.execute("SELECT * FROM read_parquet(?)", [str(path)])
    names = [column[0] for column in table.description]
    yield "DuckDB", [dict(zip(names, row, strict=True)) for row in table.fetchall()]
    yield "PyArrow", pyarrow.parquet.read_table(path).to_pylist()
    yield "Polars", polars.read_parquet(path).to_dicts()
    frame = pandas.read_parquet(path, dtype_backend="pyarrow")
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    for row in rows:
        for column in ("time", "floating_expires"):
            if row.get(column) is not None:
                row[column] = row[column].to_pydatetime()
    yield "pandas", rows


def types(path):
    """The types are those that joins and time functions need, without a cast."""
    described = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '{path}')").fetchall())
    texts = {"event_type", "outcome", "key", "machine_code", "friendly_name", "ip", "extra"}
    wanted = {"time": "TIMESTAMP WITH TIME ZONE", "floating_expires": "TIMESTAMP WITH TIME ZONE"}
    wanted |= dict.fromkeys(texts, "VARCHAR")
    for column, found in described.items():
        if found != wanted.get(column, "BIGINT"):
            raise Failure(f"{column} is {found}")
    check("types in DuckDB", len(described) == 14, described["time"])


def queries(folder, rows):
    """The queries of docs/archive.md, compared with counting in Python."""
    path = folder / "requests.parquet"
    failed = [row for row in rows if row["state"] % 100 // 10 == 2]
    by_week = duckdb.sql(
        f"SELECT date_trunc('week', time) AS week, count(*) AS failures FROM '{path}' "
        "WHERE outcome = 'failure' GROUP BY week ORDER BY week"
    ).fetchall()
    check("DuckDB: failures by week", sum(count for _, count in by_week) == len(failed) > 0, f"{len(by_week)} weeks")
    frame = pandas.read_parquet(path)
    refused = frame[frame.state == 2024].groupby("key").size().sort_values(ascending=False)
    keys = {row["key"] for row in rows if row["state"] == 2024}
    check("pandas: keys without a free seat", set(refused.index) == keys and keys, len(keys))
    by_product = polars.scan_parquet(path).group_by("product_id").len().collect()
    check("Polars: rows by product", by_product["len"].sum() == len(rows), by_product.height)


TABLES = {"web-api": "web_api_log", "events": "event_log", "objects": "object_log"}


def serving(binary, simulator, folder, *flags, storage="storage"):
    """An exporter that archives each minute."""
    return Process(
        binary,
        "serve",
        f"--api.url={simulator}/api",
        f"--storage.path={folder / storage}",
        f"--archive.path={folder / 'archive'}",
        "--since=all",
        "--poll.overlap=1s",
        "--poll.interval=1s",
        "--poll.interval.events=1s",
        "--poll.interval.objects=1s",
        "--archive.interval=1m",
        "--archive.delay=1s",
        "--web.listen-address=127.0.0.1:0",
        *flags,
        env={"CRYPTOLENS_TOKEN": "archive-check"},
    )


def archived(binary, simulator, folder):
    """Each row is in the archive once, whenever the exporter is killed and whatever ledger it finds then, and names nobody."""
    state = folder / "archive" / "_state"
    kills, truth, copy = 0, {}, {}
    for pause in (0.0, 0.3, 0.02, 1.0):
        with serving(binary, simulator, folder) as exporter:
            truth = truth or late_rows(simulator)
            # Nothing is left to write once the last rename is done.
            wait_for(
                "a file that is being written",
                lambda truth=truth: any(state.glob("*.tmp")) or covered(state, truth),
            )
            sleep(pause)
            exporter.stop(signal.SIGKILL)
            kills += 1
        ledger = list((folder / "storage").glob("ledger.db*"))
        if kills == 1:
            copy = {path: path.read_bytes() for path in ledger}
        else:
            # A ledger that is gone, an older one, and a new one again.
            for path in ledger:
                path.unlink()
            for path, content in copy.items() if kills == 3 else ():
                path.write_bytes(content)
    with serving(binary, simulator, folder) as exporter:
        wait_for("the whole archive", lambda: covered(state, truth))
        key = f"--archive.key-file={folder / 'storage' / 'archive.key'}"
        with serving(binary, simulator, folder, key, storage="second") as second:
            wait_for("the second process", lambda: "another process archives into this directory" in second.output())
            check("a second process counts and does not archive", second.running.poll() is None, "locked")
        check("the exporter runs on", exporter.running.poll() is None, f"{kills} kills")
    check("no temporary file is left", not any(state.glob("*.tmp")), "none")
    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    secrets = {
        str(row[member])
        for rows in truth.values()
        for row in rows
        for member in ("key", "machineCode", "friendlyName", "ip")
        if len(str(row.get(member) or "")) > 5
    }
    for log, rows in truth.items():
        files = f"{folder}/archive/{TABLES[log]}/**/*.parquet"
        table = session.execute(f"SELECT * FROM read_parquet('{files}', hive_partitioning = true) ORDER BY id")
        names = [column[0] for column in table.description]
        read = [dict(zip(names, row, strict=True)) for row in table.fetchall()]
        check(f"archive of {log}: each row once", [row["id"] for row in read] == [row["id"] for row in rows], len(read))
        time_of = LOGS[log][1]
        times = all(moment(row[time_of]) == found["time"] for row, found in zip(rows, read, strict=True))
        dates = all(str(found["date"]) == str(found["time"].date()) for found in read if found["time"])
        check(f"archive of {log}: times and dates", times and dates, {row["account"] for row in read})
        shown = [text for row in read for text in row.values() if isinstance(text, str)]
        check(f"archive of {log}: nobody is named", not any(text in secrets for text in shown), f"{len(shown)} texts")
    # The queries of docs/archive.md.
    failed = sum(row["state"] % 100 // 10 == 2 for row in truth["web-api"])
    by_week = session.execute(
        f"SELECT date_trunc('week', time) AS week, count(*) AS failures FROM read_parquet("
        f"'{folder}/archive/web_api_log/**/*.parquet', hive_partitioning = true) "
        "WHERE outcome = 'failure' AND date >= '2026-01-01' GROUP BY week ORDER BY week"
    ).fetchall()
    check("DuckDB: failures by week in the archive", sum(count for _, count in by_week) == failed > 0, failed)
    frame = pandas.read_parquet(folder / "archive" / "web_api_log", columns=["key", "state"])
    customers = frame.groupby("state")["key"].nunique()
    keys = {row["key"] for row in truth["web-api"] if row["state"] == 2014 and row["key"]}
    check("pandas: customers by state", customers[2014] == len(keys) > 0, len(keys))
    bytes_of_files = b"".join(path.read_bytes() for path in (folder / "archive").rglob("*") if path.is_file())
    found = [text for text in secrets if text.encode() in bytes_of_files]
    check("no byte of the archive names anybody", not found and len(secrets) > 100, f"{len(bytes_of_files)} bytes")
    mode = (folder / "storage" / "archive.key").stat().st_mode & 0o777
    check("the key is private", mode == 0o600, oct(mode))
    with serving(binary, simulator, folder, "--archive.identities=none") as other:
        check("other identities: exit code", other.running.wait(60) == 1, 1)
        refusal = other.output()
    check("other identities: both are named", "identities=masked, not with none" in refusal, "masked, none")


def late_rows(simulator):
    """The rows of each log, with some that show up within a second and not in the order of their ids."""
    fetch(f"{simulator}/simulator/clock", "PUT", {"frozen": False})
    for table in LOGS:
        fetch(f"{simulator}/simulator/batch", "POST", {"log": table.replace("-", "_"), "rows": 300, "spread": 1})
    sleep(3)
    fetch(f"{simulator}/simulator/clock", "PUT", {"frozen": True})
    return {log: rows_of(simulator, log) for log in LOGS}


def covered(state, truth):
    """True once the archive has come to the last row of each log."""
    for log, rows in truth.items():
        path = state / f"default.{log.replace('-', '_')}.json"
        if not path.exists() or json.loads(path.read_text())["until"] < rows[-1]["id"]:
            return False
    return True


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        simulator = f"http://127.0.0.1:{port}"
        stack.enter_context(
            Process(binary, "simulate", f"--listen-address=127.0.0.1:{port}", "--seed=7", "--history=30d")
        )
        wait_for("the simulator", lambda: fetch(f"{simulator}/simulator/clock"))
        fetch(f"{simulator}/simulator/clock", "PUT", {"frozen": True})
        for log, (columns, time) in LOGS.items():
            rows = rows_of(simulator, log)
            oldest = min(row[time] for row in rows)
            path = folder / f"{log}.parquet"
            exported(binary, simulator, log, path, "--identities=full")
            expected = expected_rows(rows, columns, time)
            for reader, read in readers(path):
                compared(f"{log} in {reader}", expected, read)
            check(f"{log}: times", oldest > 0, moment(oldest))
        types(folder / "web-api.parquet")
        # What is masked can be read and joined as well, and holds nothing of what is not.
        rows = rows_of(simulator, "web-api")
        exported(binary, simulator, "web-api", folder / "masked.parquet")
        masked = pyarrow.parquet.read_table(folder / "masked.parquet").to_pylist()
        for column, member in (("key", "key"), ("machine_code", "machineCode"), ("friendly_name", "friendlyName")):
            pairs = {(row[member], found[column]) for row, found in zip(rows, masked, strict=True) if row[member]}
            names, pseudonyms = ({pair[place] for pair in pairs} for place in (0, 1))
            check(f"masked {column}: one pseudonym for each", len(names) == len(pairs) == len(pseudonyms), len(pairs))
            check(f"masked {column}: none is shown", not names & pseudonyms, len(pairs))
        (folder / "web-api.parquet").rename(folder / "requests.parquet")
        queries(folder, rows)
        metadata = pyarrow.parquet.ParquetFile(folder / "masked.parquet").metadata
        labels = metadata.metadata
        check("the footer names the identities", labels[b"cryptolens_exporter.identities"] == b"masked", "masked")
        size = (folder / "masked.parquet").stat().st_size
        archived(binary, simulator, folder)
        print(f"{len(rows)} rows in {size} bytes, {size / len(rows):.1f} bytes a row")
    print(f"{len(held)} checks hold")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        print(f"FAILED {failure}", file=sys.stderr)
        sys.exit(1)
