"""Lints the chart with the Helm that helm-sdkpy brings, where there is no helm. A warning is an error, as with --strict.

Its default values lack the token, which linting forgives.
"""

import asyncio
import sys

import helm_sdkpy

WARNING = 2

result = asyncio.run(helm_sdkpy.Lint(helm_sdkpy.Configuration()).run(sys.argv[1]))
problems = [message for message in result["Messages"] if message["Severity"] >= WARNING]
for problem in problems:
    # The bindings lose most texts.
    print(f"{problem['Path'] or sys.argv[1]}: {problem['Err'] or 'see helm lint'}")
sys.exit(1 if problems or result["Errors"] else 0)
