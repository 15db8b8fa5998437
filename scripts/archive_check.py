"""Exports the logs of a simulator as Parquet and reads the files with DuckDB, pandas, Polars and PyArrow.

The truth is what the simulator says it holds (`/simulator/rows`): neither the exporter's client nor its decoder takes part.
The queries are those of docs/archive.md.
"""

import contextlib
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile

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
    """What the file should hold: an empty text is none."""
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
        print(f"{len(rows)} rows in {size} bytes, {size / len(rows):.1f} bytes a row")
    print(f"{len(held)} checks hold")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        print(f"FAILED {failure}", file=sys.stderr)
        sys.exit(1)
