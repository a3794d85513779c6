// A worker of abraxas: node abraxas_worker.js PORT [order]
const Gearman = require('abraxas');

const [port, mode] = process.argv.slice(2);
const worker = Gearman.Client.connect({ host: '127.0.0.1', port: Number(port), defaultEncoding: 'utf8' });
if (mode === 'order') {
  worker.registerWorker('order', (task) => {
    console.log(task.payload);
    return 'done';
  });
} else {
  worker.setClientId('abraxas-worker');
  worker.registerWorker('rev', (task) => [...task.payload].reverse().join(''));
  worker.registerWorker('news', (task) => {
    task.status(0.5);
    task.warn('careful');
    return 'two';
  });
  worker.registerWorker('throw', () => {
    throw new Error('boom');
  });
}
