<?php
// A client of the gearman extension: php php_client.php PORT [queue|twice]
$client = new GearmanClient();
$client->addServer('127.0.0.1', (int) $argv[1]);
$client->setTimeout(15000);
if (($argv[2] ?? '') === 'queue') {
    $client->doLowBackground('order', 'low');
    $client->doBackground('order', 'normal');
    $client->doHighBackground('order', 'high');
    exit;
}
if (($argv[2] ?? '') === 'twice') {
    $client->setCompleteCallback(function ($task) {
        echo 'count ', $task->data(), "\n";
    });
    $client->addTask('count', 'x', null, 'same');
    $client->addTask('count', 'x', null, 'same');
    $client->runTasks();
    exit;
}

echo 'ping ', var_export($client->ping('hello'), true), "\n";
foreach (['doLow', 'doNormal', 'doHigh'] as $do) {
    echo "$do ", $client->$do('rev', 'abc'), "\n";
}

echo 'news ', $client->doNormal('news', 'x'), "\n";
@$client->doNormal('fail', 'x');
echo 'fail ', $client->returnCode() === GEARMAN_WORK_FAIL ? 'failed' : $client->error(), "\n";
@$client->doNormal('throw', 'x');
echo 'throw ', $client->returnCode() === GEARMAN_WORK_FAIL ? 'failed' : $client->error(), "\n";

$client->enableExceptionHandler();
$said = [];
$client->setExceptionCallback(function ($task) use (&$said) {
    $said[] = 'exception ' . $task->data();
});
$client->setDataCallback(function ($task) use (&$said) {
    $said[] = 'data ' . $task->data();
});
$client->setStatusCallback(function ($task) use (&$said) {
    $said[] = 'status ' . $task->taskNumerator() . '/' . $task->taskDenominator();
});
$client->setWarningCallback(function ($task) use (&$said) {
    $said[] = 'warning ' . $task->data();
});
$client->setFailCallback(function ($task) use (&$said) {
    $said[] = 'fail';
});
$client->setCompleteCallback(function ($task) use (&$said) {
    $said[] = $task->functionName() . ' ' . $task->data();
});
$client->addTask('throw', 'x');
$client->addTask('fail', 'x');
$client->addTask('news', 'x');
$client->addTaskHigh('rev', 'xyz');
@$client->runTasks();
sort($said);
echo 'tasks ', implode(', ', $said), "\n";

$handle = $client->doBackground('later', 'x', 'key');
echo 'again ', var_export($client->doBackground('later', 'y', 'key') === $handle, true), "\n";
[$known, $running] = $client->jobStatus($handle);
echo 'queued ', var_export([$known, $running] === [true, false], true), "\n";
[$known] = $client->jobStatus($handle . '9');
echo 'unknown ', var_export($known, true), "\n";
[$known] = $client->jobStatusByUniqueKey('key');
echo 'by unique ', var_export($known, true), "\n";
