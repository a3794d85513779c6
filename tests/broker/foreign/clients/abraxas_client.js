// A client of abraxas: node abraxas_client.js PORT [queue]
const Gearman = require('abraxas');

const [port, mode] = process.argv.slice(2);
const client = Gearman.Client.connect({ host: '127.0.0.1', port: Number(port), defaultEncoding: 'utf8' });

async function run(name, options = {}) {
  const said = [];
  const task = client.submitJob(name, options, 'abc');
  task.on('warn', (text) => said.push(`warning ${text}`));
  task.on('status', (status) => said.push(`status ${status}`));
  try {
    said.push(await task);
  } catch (error) {
    said.push(`error ${error.message}`);
  }
  return `${name} ${said.join(', ')}`;
}

async function main() {
  if (mode === 'queue') {
    for (const priority of ['low', 'normal', 'high']) {
      const options = priority === 'normal' ? {} : { priority };
      await client.submitJobBg('order', options, priority);
    }
    return;
  }
  for (const priority of ['low', 'normal', 'high']) {
    console.log(await run('rev', priority === 'normal' ? {} : { priority }));
  }
  console.log(await run('news'));
  console.log(await run('throw'));
  console.log('echo', await client.echo('hello'));
  console.log('background', (await client.submitJobBg('later', {}, 'x')).startsWith('H:'));
}

main().then(() => client.disconnect());
