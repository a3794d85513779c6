"""A client of pygearman: pygearman_client.py PORT [queue]"""
import sys

import gearman

servers = ['127.0.0.1:' + sys.argv[1]]
client = gearman.GearmanClient(servers)
if sys.argv[2:]:
    for text, priority in [('low', gearman.PRIORITY_LOW), ('normal', gearman.PRIORITY_NONE),
                           ('high', gearman.PRIORITY_HIGH)]:
        client.submit_job('order', text, priority=priority, background=True)
    sys.exit()

for priority in [gearman.PRIORITY_LOW, gearman.PRIORITY_NONE, gearman.PRIORITY_HIGH]:
    request = client.submit_job('rev', 'abc', priority=priority, poll_timeout=15)
    print('rev', request.state, request.result)
request = client.submit_job('news', 'x', poll_timeout=15)
status = request.status['numerator'], request.status['denominator']
print('news', list(request.data_updates), list(request.warning_updates), status, request.result)
request = client.submit_job('fail', 'x', poll_timeout=15)
print('fail', request.state)
request = client.submit_job('later', 'x', unique='key', background=True)
status = client.get_job_status(request, poll_timeout=15).status
print('status', status['known'], status['running'])

admin = gearman.GearmanAdminClient(servers)
print('ping', admin.ping_server() > 0)
print('status', [row for row in admin.get_status() if row['task'] == 'later'])
print('workers', [row['client_id'] for row in admin.get_workers() if row['tasks']])
print('version', bool(admin.get_version()))
print('pid', admin.get_pid().startswith('OK '))
print('unique jobs', 'key' in str(admin.get_unique_jobs()))
print('jobs', len(admin.get_jobs()) > 0)
