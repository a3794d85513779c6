<?php
/**
 * The worker of the fetch example: takes jobs of the function "fetch", whose payload is
 * {"url": "…"}, fetches the URL and prints what came.
 *
 *     php examples/fetch-worker.php
 *
 * An ordinary php-gearman worker: nothing in it knows who runs it. It finds the server in
 * GEARMAN_HOST and GEARMAN_PORT, where gear-supervisor puts it, and otherwise at 127.0.0.1:4730.
 */
declare(strict_types=1);

/** Seconds that a server of a URL may be silent. */
const FETCH_TIMEOUT = 30;

function say(string $line): void
{
    echo $line, "\n";
    // Into a pipe PHP may buffer; whoever watches wants to see it now.
    flush();
}

function fetch(GearmanJob $job): string
{
    $url = json_decode($job->workload(), true)['url'] ?? null;
    if (!is_string($url)) {
        say('No URL in ' . $job->workload());
        $job->sendFail();
        return '';
    }
    say("Fetching $url");
    $context = stream_context_create(['http' => ['timeout' => FETCH_TIMEOUT]]);
    $content = @file_get_contents($url, false, $context);
    if ($content === false) {
        say("Cannot fetch $url: " . (error_get_last()['message'] ?? 'no reason known'));
        $job->sendFail();
        return '';
    }
    $size = strlen($content);
    say("Fetched $url: $size bytes");
    return (string) $size;
}

// TERM: finish the job in hand, then end. PHP runs the handler between two steps of this program,
// so a job is not cut short, and work() comes back at the latest when its time-out is over.
$stopping = false;
pcntl_async_signals(true);
foreach ([SIGTERM, SIGINT] as $signal) {
    pcntl_signal($signal, function () use (&$stopping): void {
        $stopping = true;
    });
}

$worker = new GearmanWorker();
// The library adds the servers of GEARMAN_SERVERS by itself. Adding one of them again would be a
// second connection, and libgearman's clients may hang with two.
if (!getenv('GEARMAN_SERVERS')) {
    $host = getenv('GEARMAN_HOST') ?: '127.0.0.1';
    $port = (int) (getenv('GEARMAN_PORT') ?: 4730);
    try {
        $worker->addServer($host, $port);
    } catch (GearmanException $error) {
        fwrite(STDERR, "No Gearman server at $host:$port: {$error->getMessage()}\n");
        exit(1);
    }
}
$worker->addFunction('fetch', 'fetch');
$worker->setTimeout(2000);
say('Waiting for URLs');

while (!$stopping) {
    if (@$worker->work() || $worker->returnCode() === GEARMAN_TIMEOUT) {
        continue;
    }
    if ($worker->returnCode() === GEARMAN_WORK_FAIL || $stopping) {
        continue;
    }
    // A supervisor starts a new one; until the server is back it waits longer and longer.
    fwrite(STDERR, 'Lost the Gearman server: ' . $worker->error() . "\n");
    exit(1);
}
say('Done');
