// A client of gearmanode: node gearmanode_client.js PORT [queue]
const gearmanode = require('gearmanode');
gearmanode.Client.logger.silent = true;

const [port, mode] = process.argv.slice(2);
const client = gearmanode.client({ host: '127.0.0.1', port: Number(port) });
const once = (emitter, ...events) => new Promise((resolve) => {
  events.forEach((event) => emitter.once(event, (value) => resolve([event, value])));
});

async function run(name, options = {}) {
  const said = [];
  const job = client.submitJob(name, 'abc', { toStringEncoding: 'utf8', ...options });
  job.on('workData', (data) => said.push(`data ${data}`));
  job.on('warning', (data) => said.push(`warning ${data}`));
  job.on('status', (status) => said.push(`status ${status.percent_done_num}/${status.percent_done_den}`));
  const [event, value] = await once(job, 'complete', 'failed', 'exception');
  said.push(event === 'complete' ? job.response : event + (value ? ` ${value}` : ''));
  return `${name} ${said.join(', ')}`;
}

async function main() {
  if (mode === 'queue') {
    for (const priority of ['LOW', 'NORMAL', 'HIGH']) {
      await once(client.submitJob('order', priority.toLowerCase(), { background: true, priority }), 'created');
    }
    return;
  }
  for (const priority of ['LOW', 'NORMAL', 'HIGH']) {
    console.log(await run('rev', { priority }));
  }
  console.log(await run('news'));
  console.log(await run('fail'));
  const server = client.jobServers[0];
  server.setOption('exceptions');
  console.log('option', (await once(server, 'option'))[1].toString());
  console.log(await run('throw'));
  server.echo('hello');
  console.log('echo', (await once(server, 'echo'))[1].toString());
  const job = client.submitJob('later', 'x', { background: true, unique: 'key' });
  await once(job, 'created');
  job.getStatus();
  const [, status] = await once(job, 'status');
  console.log('status', status.known, status.running);
}

main().then(() => client.close());
