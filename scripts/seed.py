"""The vendor's own analysis of the Web API Log, for comparison: its page "Data analysis and reports", with pandas.

Mended only where the page's script fails today, and each time by the smallest change:

- `Key.get_web_api_log` is now `AI.get_web_api_log`, and `datetime` is imported as what the script takes it for;
- the page after the last is empty, and has no last row;
- an error in the middle ends the script, which took what it had so far for everything;
- writing "Success" to whole rows overwrites every column (and fails since pandas 3): one column is mapped.

    CRYPTOLENS_API_URL=http://127.0.0.1:10461/api CRYPTOLENS_TOKEN=any venv/bin/python scripts/seed.py > seed.json

What the page shows as a picture is written as JSON, with the counts behind it. SEED_CHART=FILE.png draws the picture.
"""

import datetime
import json
import os
import sys

import pandas as pd
from licensing.internal import HelperMethods
from licensing.methods import AI

HelperMethods.server_address = os.environ["CRYPTOLENS_API_URL"].rstrip("/") + "/"


def get_api_token():
    return os.environ["CRYPTOLENS_TOKEN"]


month_back = int(datetime.datetime.timestamp(datetime.datetime.today() - datetime.timedelta(days=30)))

logs = []

ending_before = 0

while True:
    res = AI.get_web_api_log(token=get_api_token(), order_by="Id descending", limit=1000, ending_before=ending_before)

    if res[0] is None:
        sys.exit(res[1])

    if not res[0]:
        break

    logs = logs + res[0]

    if res[0][-1]["time"] < month_back:
        break

    ending_before = res[0][-1]["id"]

logs = pd.DataFrame(logs)
logs = logs[logs["time"] > month_back]


def success(state):
    return state % 100 // 10 - 1


logs["Success"] = success(logs["state"]).map(lambda digit: {0: "Success", 1: "Failure"}.get(digit, "other"))

if "SEED_CHART" in os.environ:
    import matplotlib

    matplotlib.use("svg" if os.environ["SEED_CHART"].endswith(".svg") else "agg")
    plot = (
        logs["Success"].value_counts(normalize=True).plot(kind="bar", title="Successful vs. unsuccessful API requests")
    )
    plot.figure.savefig(os.environ["SEED_CHART"], bbox_inches="tight")


def counts(column, normalize=False):
    return {str(name): number for name, number in column.value_counts(normalize=normalize).to_dict().items()}


json.dump(
    {
        "month_back": month_back,
        "rows": len(logs),
        "success": counts(logs["Success"]),
        "success_share": counts(logs["Success"], normalize=True),
        "state": counts(logs["state"]),
        "product": counts(logs["productId"]),
        "key": counts(logs["key"].replace("", None)),
        "key_share": counts(logs["key"].replace("", None), normalize=True),
        "failing_name": counts(logs[logs["Success"] == "Failure"]["friendlyName"].replace("", None)),
        "day": counts(pd.to_datetime(logs["time"], unit="s").dt.strftime("%Y-%m-%d")),
    },
    sys.stdout,
)
