"""A worker of pygearman: pygearman_worker.py PORT [order]"""
import sys

import gearman

worker = gearman.GearmanWorker(['127.0.0.1:' + sys.argv[1]])


def rev(worker, job):
    return job.data[::-1]


def news(worker, job):
    worker.send_job_status(job, 1, 2)
    worker.send_job_data(job, b'one')
    worker.send_job_warning(job, b'careful')
    return b'two'


def fail(worker, job):
    raise ValueError('boom')


def order(worker, job):
    print(job.data.decode(), flush=True)
    return b''


worker.set_client_id('py-worker')
for function in [order] if sys.argv[2:] else [rev, news, fail]:
    # Names are compared as they come, as bytes.
    worker.register_task(function.__name__.encode(), function)
worker.work()
