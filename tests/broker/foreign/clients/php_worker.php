<?php
// A worker of the gearman extension: php php_worker.php PORT [order]
$worker = new GearmanWorker();
$worker->addServer('127.0.0.1', (int) $argv[1]);
if (($argv[2] ?? '') === 'order') {
    $worker->addFunction('order', function ($job) {
        echo $job->workload(), "\n";
    });
} else {
    $calls = 0;
    $worker->addFunction('rev', fn ($job) => strrev($job->workload()));
    $worker->addFunction('count', function ($job) use (&$calls) {
        return (string) ++$calls;
    });
    $worker->addFunction('news', function ($job) {
        $job->sendStatus(1, 2);
        $job->sendData('one');
        $job->sendWarning('careful');
        return 'two';
    });
    $worker->addFunction('fail', function ($job) {
        $job->sendFail();
    });
    $worker->addFunction('throw', function ($job) {
        $job->sendException('boom');
    });
}
while (@$worker->work());
