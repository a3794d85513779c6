"""A client of gear: gear_client.py PORT [queue]"""
import sys
import threading

import gear

WITHIN = 15


class Client(gear.Client):
    """Collects the news of each job, and tells when one has ended."""

    def __init__(self):
        super().__init__('gear-client')
        self.said = []
        self.ended = threading.Semaphore(0)

    def handleWorkData(self, packet):
        job = super().handleWorkData(packet)
        self.said.append('%s data %s' % (job.name, packet.getArgument(1, True).decode()))

    def handleWorkWarning(self, packet):
        job = super().handleWorkWarning(packet)
        self.said.append('%s warning %s' % (job.name, packet.getArgument(1, True).decode()))

    def handleWorkStatus(self, packet):
        job = super().handleWorkStatus(packet)
        self.said.append('%s status %s/%s' % (job.name, job.numerator, job.denominator))

    def handleWorkComplete(self, packet):
        job = super().handleWorkComplete(packet)
        self.said.append('%s %s' % (job.name, packet.getArgument(1, True).decode()))
        self.ended.release()

    def handleWorkFail(self, packet):
        job = super().handleWorkFail(packet)
        self.said.append('%s failed' % job.name)
        self.ended.release()

    def handleWorkException(self, packet):
        job = super().handleWorkException(packet)
        self.said.append('%s exception %s' % (job.name, job.exception.decode()))
        self.ended.release()


client = Client()
client.addServer('127.0.0.1', int(sys.argv[1]))
client.waitForServer(WITHIN)
if sys.argv[2:]:
    for text, precedence in [('low', gear.PRECEDENCE_LOW), ('normal', gear.PRECEDENCE_NORMAL),
                             ('high', gear.PRECEDENCE_HIGH)]:
        client.submitJob(gear.Job(b'order', text.encode()), background=True, precedence=precedence)
    sys.exit()

connection = client.active_connections[0]
print('option', client.setOption('exceptions', WITHIN))
names = ['rev', 'news', 'fail', 'throw']
for name in names:
    client.submitJob(gear.Job(name.encode(), b'abc'))
for name in names:
    assert client.ended.acquire(timeout=WITHIN), client.said
print('jobs', ', '.join(sorted(client.said)))

job = gear.Job(b'later', b'x', unique=b'key')
client.submitJob(job, background=True)
again = gear.Job(b'later', b'y', unique=b'key')
client.submitJob(again, background=True)
print('again', job.handle == again.handle)


def ask(request):
    connection.sendAdminRequest(request, WITHIN)
    return request.response.decode()


status = [row for row in ask(gear.StatusAdminRequest()).splitlines() if row.startswith('later')]
print('status', status)
print('show jobs', job.handle.decode() in ask(gear.ShowJobsAdminRequest()))
print('unique jobs', 'key' in ask(gear.ShowUniqueJobsAdminRequest()).splitlines())
print('workers', 'gear-worker : ' in ask(gear.WorkersAdminRequest()))
print('version', ask(gear.VersionAdminRequest()).startswith('OK '))
print('cancel', ask(gear.CancelJobAdminRequest(job.handle)).strip())
print('cancel', ask(gear.CancelJobAdminRequest(job.handle)).strip())
