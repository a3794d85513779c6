// A worker of gearmanode: node gearmanode_worker.js PORT [order]
const gearmanode = require('gearmanode');
gearmanode.Client.logger.silent = true;

const [port, mode] = process.argv.slice(2);
const worker = gearmanode.worker({ host: '127.0.0.1', port: Number(port) });
if (mode === 'order') {
  worker.addFunction('order', (job) => {
    console.log(job.payload.toString());
    job.workComplete('');
  });
} else {
  worker.addFunction('rev', (job) => job.workComplete([...job.payload.toString()].reverse().join('')));
  worker.addFunction('news', (job) => {
    job.reportStatus(1, 2);
    job.sendWorkData('one');
    job.reportWarning('careful');
    job.workComplete('two');
  });
  worker.addFunction('fail', (job) => job.reportError());
  worker.addFunction('throw', (job) => job.reportException('boom'));
}
