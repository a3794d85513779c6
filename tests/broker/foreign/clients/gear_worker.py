"""A worker of gear: gear_worker.py PORT [order]"""
import sys

import gear

port, mode = int(sys.argv[1]), sys.argv[2:]
worker = gear.Worker('gear-worker')
worker.addServer('127.0.0.1', port)
worker.waitForServer()
for name in ['order'] if mode else ['rev', 'count', 'news', 'fail', 'throw']:
    worker.registerFunction(name)
calls = 0
while True:
    job = worker.getJob()
    if job.name == 'order':
        print(job.arguments.decode(), flush=True)
        job.sendWorkComplete()
    elif job.name == 'rev':
        job.sendWorkComplete(job.arguments[::-1])
    elif job.name == 'count':
        calls += 1
        job.sendWorkComplete(str(calls).encode())
    elif job.name == 'news':
        job.sendWorkStatus(1, 2)
        job.sendWorkData(b'one')
        job.sendWorkWarning(b'careful')
        job.sendWorkComplete(b'two')
    elif job.name == 'fail':
        job.sendWorkFail()
    elif job.name == 'throw':
        job.sendWorkException(b'boom')
