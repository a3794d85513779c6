#!/usr/bin/env python3
"""A `lines` worker: counts how often each word occurs in a text.

It knows nothing of Gearman. Each line on stdin is a job in JSON, each line on stdout a reply:

    {"handle": "H:host:7", "function": "wordfreq", "unique": "", "payload": "to be or not to be"}
    {"status": [6, 6]}
    {"result": "be 2\nto 2\nnot 1\nor 1\n"}

    gear-supervisor work wordfreq --lines -- python3 examples/lines_worker.py

Whatever else it has to say belongs on stderr.
"""

import base64
import collections
import json
import sys

# Words between two reports of progress.
WORDS_PER_REPORT = 10_000


def reply(**fields):
    """Sends one reply; flushed, since stdout is a pipe."""
    print(json.dumps(fields), flush=True)


def payload_of(job):
    """The payload, which comes in base64 when it is not UTF-8."""
    if "payload_base64" in job:
        return base64.b64decode(job["payload_base64"]).decode("utf-8", "replace")
    return job["payload"]


def wordfreq(job):
    """Performs one job and returns its result."""
    words = payload_of(job).lower().split()
    counts = collections.Counter()
    for done, word in enumerate(words, 1):
        counts[word] += 1
        if done % WORDS_PER_REPORT == 0 or done == len(words):
            reply(status=[done, len(words)])
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "".join(f"{word} {count}\n" for word, count in ranked)


def main():
    """Serves until stdin ends."""
    for line in sys.stdin:
        job = json.loads(line)
        print(f"{job['handle']}: {len(line)} bytes", file=sys.stderr, flush=True)
        try:
            reply(result=wordfreq(job))
        except Exception as error:  # pylint: disable=broad-except
            # The job failed, the worker is well: tell the client why and take the next one.
            reply(exception=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
